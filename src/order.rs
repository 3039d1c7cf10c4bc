//! An order about one person that takes access away, and its way back: committed and enforced before the operator is
//! told that it is done (R5).
//!
//! Taking away never waits for the disk (R6): what has not committed within a second puts the person on hold, out at
//! once in this process, until an order on their account commits. That is an error to the operator, who repeats it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_policy::{AccountId, Attributes, Facts, OrgId, ResourceId, fold};
use portcullis_proxy::LogDetail;
use portcullis_session::{Committed, Cut, HoldMark, HoldOn, Sessions};
use portcullis_store::{Store, StoreError, UserError, UserSummary};
use tokio::time::timeout;

use crate::log::error_chain;
use crate::order_error::OrderError;
use crate::person::{UserListing, user_listing};
use crate::revocation::{Enforced, LEAVE, NotDone, Revocation, Underway};

/// The time after which an order that is not committed puts the person on hold.
const COMMIT: Duration = Duration::from_secs(1);
/// The time that the store may take to say whom the order means; then whoever is in memory is asked.
const NAMED: Duration = Duration::from_millis(250);

/// An order about one person.
pub(crate) struct Order {
    /// The message of the log once it is carried out.
    pub(crate) what: &'static str,
    /// The verb, as it is typed.
    pub(crate) verb: &'static str,
    /// The person it is about, as the operator named them.
    pub(crate) who: String,
    /// True where somebody loses access by it.
    pub(crate) takes_away: bool,
}

/// The means by which an order is carried out.
pub(crate) struct Means {
    pub(crate) store: Arc<Store>,
    pub(crate) revocation: Revocation,
    /// The naming of people in the log.
    pub(crate) log: LogDetail,
    /// True where this process serves, so that somebody may be in. Else only the store is written.
    pub(crate) serves: bool,
}

/// The name of the operator in the audit and in the log.
pub(crate) const ACTOR: &str = "cli";
pub(crate) const BY: &str = "operator";

/// The answer of the store to an order.
type OrderWritten = Result<Committed<UserSummary>, UserError>;

/// A person on hold: their accounts, with the mark that ends each hold.
type Marks = Vec<(AccountId, HoldMark)>;

impl Order {
    /// Carries it out.
    ///
    /// # Errors
    /// [`OrderError`].
    pub(crate) async fn carry_out<W>(
        self,
        means: Means,
        write: impl FnOnce(Arc<Store>, String) -> W + Send + 'static,
    ) -> Result<UserListing, OrderError>
    where
        W: Future<Output = OrderWritten> + Send + 'static,
    {
        let write = write(means.store.clone(), self.who.clone());
        OrderUnderway { means, order: self, began: Instant::now() }.carry_out(write).await
    }
}

/// An order under way.
struct OrderUnderway {
    means: Means,
    order: Order,
    began: Instant,
}

impl OrderUnderway {
    async fn carry_out(
        self,
        write: impl Future<Output = OrderWritten> + Send + 'static,
    ) -> Result<UserListing, OrderError> {
        // Only a hold that was set before the transaction began ends with it.
        let before = self.sessions().hold_mark();
        let mut underway = self.means.revocation.carry_out(write, LEAVE);
        let holds = self.order.takes_away && self.means.serves;
        if holds && timeout(COMMIT, underway.wait_settled()).await.is_err() {
            let (marks, refused) = self.hold_person("it has not committed within 1 s").await;
            // It may still commit: then it is enforced, and its own holds end.
            tokio::spawn(self.follow_late_order(underway, marks));
            return Err(refused);
        }
        let error = match underway.wait_done().await {
            Ok(enforced) => return Ok(self.settle_order(enforced, |_| before)),
            Err(NotDone::Write(UserError::Store(error))) => error,
            Err(NotDone::Panicked(_)) => StoreError::Panicked,
            Err(NotDone::Write(error)) => return Err(error.into()),
            Err(NotDone::NotGone(error)) => {
                let what = self.order.what;
                tracing::error!(by = BY, "{what}, but not everything that was cut has ended: {error}");
                return Err(error.into());
            }
        };
        if holds {
            let why = error_chain(&error).to_string();
            return Err(self.hold_person(&why).await.1);
        }
        let order = self.order.verb;
        tracing::error!(by = BY, order, error = %error_chain(&error), "an operator's order could not be carried out");
        Err(OrderError::Store(error))
    }

    fn sessions(&self) -> &Sessions {
        self.means.revocation.sessions()
    }

    /// It is carried out: its holds end, and the log is told who it was about, and what ended in how long.
    fn settle_order(
        &self,
        enforced: Enforced<UserSummary>,
        mark: impl Fn(AccountId) -> HoldMark,
    ) -> UserListing {
        let Self { means, order: Order { what, .. }, began } = self;
        let Enforced { value: user, exchanges, .. } = enforced;
        for account in std::iter::once(user.account).chain(user.others.iter().copied()) {
            self.sessions().end_hold(&HoldOn::Account(OrgId::ONLY, account), mark(account));
        }
        let facts =
            facts_for_log(user.account, user.id.as_ref().map(ResourceId::as_str), user.email.as_deref());
        let (named, sessions) = (means.log.shown_user(&facts, Some(&user.name)), user.ended);
        let others = account_names(user.others.iter().copied());
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(by = BY, user = named.as_deref(), others, sessions, exchanges, ms, "{what}");
        let ended = Some(user.ended);
        UserListing { ended, ..user_listing(user, self.sessions().policy().bindings()) }
    }

    /// Takes the person out whom the order means, though it is not stored (R6).
    async fn hold_person(&self, why: &str) -> (Marks, OrderError) {
        let (accounts, is_read) =
            match timeout(NAMED, self.means.store.find_named(OrgId::ONLY, &self.order.who)).await {
                Ok(Ok(named)) => (named.all_accounts().collect(), true),
                Ok(Err(UserError::Store(_))) | Err(_) => (self.in_memory(), false),
                Ok(Err(error)) => return (Marks::new(), error.into()),
            };
        let (mut cut, mut marks) = (Cut::default(), Marks::new());
        for account in accounts {
            let (one, mark) = self.sessions().hold(&HoldOn::Account(OrgId::ONLY, account));
            cut = cut.merge(one);
            marks.push((account, mark));
        }
        let exchanges = cut.exchanges();
        let (order, accounts) = (self.order.verb, account_names(marks.iter().map(|(account, _)| *account)));
        tracing::error!(
            by = BY,
            order,
            accounts,
            exchanges,
            why,
            "an order could not be stored: the person is out and on hold until it is repeated and committed, or this process ends. Look at the store"
        );
        if let Err(error) = self.means.revocation.wait_held(cut).await {
            return (marks, error.into());
        }
        let refused = OrderError::OnHold { accounts: marks.len(), exchanges, is_read, why: why.to_owned() };
        (marks, refused)
    }

    /// The accounts in memory that bear the name: nobody else can be served while the store cannot be read.
    fn in_memory(&self) -> Vec<AccountId> {
        let who = &self.order.who;
        let (same, unique) = (fold::same_key(who), fold::unique_key(who));
        let number = AccountId::of_name(who);
        let is_meant = |facts: &Facts| {
            let names = [facts.user_name.as_deref(), facts.email.as_deref()];
            let preferred = facts.attributes.first_text(Attributes::PREFERRED_USERNAME);
            let names = names.into_iter().chain([preferred]).flatten();
            let mut names = names.map(|name| (fold::same_key(name), fold::unique_key(name)));
            Some(facts.account) == number
                || [&facts.id, &facts.subject].into_iter().flatten().any(|id| **id == **who)
                || names.any(|name| name.0 == same || name.1 == unique)
        };
        self.sessions().accounts_where(is_meant).into_iter().map(|(_, account)| account).collect()
    }

    /// Waits for a transaction that was late, and for its enforcement if it commits.
    async fn follow_late_order(self, underway: Underway<UserSummary, UserError>, marks: Marks) {
        let order = self.order.verb;
        match underway.wait_done().await {
            Ok(enforced) => {
                // A later word on one of them has a later mark.
                let own = |account| {
                    let mark = marks.iter().find(|(one, _)| *one == account).map(|(_, mark)| *mark);
                    mark.unwrap_or_default()
                };
                self.settle_order(enforced, own);
                tracing::warn!(
                    by = BY,
                    order,
                    "a late order was committed after the operator was told to repeat it"
                );
            }
            Err(NotDone::NotGone(error)) => tracing::error!(
                by = BY, order, %error, "a late order was committed, but not everything that was cut has ended: repeat it"
            ),
            Err(error) => tracing::error!(
                by = BY, order, accounts = account_names(marks.iter().map(|(account, _)| *account)),
                error = %error_chain(&error), "a late order has failed: its person stays on hold. Repeat it"
            ),
        }
    }
}

/// Accounts as a line names them; none where there are none.
fn account_names(accounts: impl Iterator<Item = AccountId>) -> Option<String> {
    let names: Vec<String> = accounts.map(|account| format!("account:{}", account.0)).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// Picks what a log line may name of a person.
pub(crate) fn facts_for_log(account: AccountId, id: Option<&str>, email: Option<&str>) -> Facts {
    Facts {
        account,
        org: OrgId::ONLY,
        stable_id: Arc::default(),
        user_name: None,
        id: id.map(Into::into),
        external_id: None,
        subject: None,
        email: email.map(Into::into),
        attributes: Attributes::default(),
        groups: Arc::new([]),
    }
}
