//! Signing in: link, admission, account, session, spent flow and audit record in one transaction that reads `active`
//! and the generation again. A removal at the same moment is either before it, and the login is refused, or after it,
//! and the session is cut.
//!
//! The rule it protects: a subject is let in as exactly one active person, who was matched once, by exactly one
//! attribute, and whom no other subject has. There is no fallback; whatever else happens is a named [`AdmissionRefusal`].

mod hint;
mod matching;
mod refusal;

use std::sync::Arc;

use portcullis_policy::{
    AccountId, AppId, Attributes, Change, DirectoryId, Facts, Generation, HeaderFault, LinkTo, OrgId, Policy,
    Seq, SessionHash, Timestamp, fold,
};
use portcullis_scim::Schemas;
use portcullis_session::Committed;
use serde_json::json;

use crate::account::{AccountRow, LoginFacts};
use crate::barred::Word;
use crate::engine::Tx;
use crate::link::{LinkKey, Through};
use crate::log::{Origin, TxLog, subject_name};
use crate::sealed_keys::Keyed;
use crate::session::Born;
use crate::standing::{Mode, Under};
use crate::writer::Lane;
use crate::{Store, StoreError, account, barred, epoch, link, session, spent, standing};

pub use refusal::{AdmissionRefusal, Hint};

/// A verified answer of an IdP that wants in.
#[derive(Clone, Debug)]
pub struct VerifiedLogin {
    /// The organization of the IdP.
    pub org: OrgId,
    /// The app the session will belong to.
    pub app: AppId,
    /// The IdP's name in the configuration.
    pub idp: Arc<str>,
    /// Its issuer, as verified.
    pub issuer: String,
    /// The subject, as verified; for Entra with `oid` and `tid`, for Google with `hd`.
    pub subject: String,
    /// True where the subject is one person for good. With a directory any other is linked to nobody and matched anew at
    /// each login.
    pub is_durable: bool,
    /// The hash of the answer's own number, which counts once, and until when it could be brought again.
    pub statement: Option<([u8; 32], Timestamp)>,
    /// The name of the IdP that this one replaces: whom a subject of that one is linked to may be linked anew.
    pub replaces: Option<Arc<str>>,
    /// The epochs the login began under: of the deployment, the organization, the IdP. If one has grown since, the
    /// session would have been ended, and is not made.
    pub epochs: [u64; 3],
    /// The source of people.
    pub provisioning: PeopleSource,
    /// The e-mail domains that the IdP may speak for.
    pub domains: EmailDomains,
    /// True where other IdPs sign people of the organization in too: then nobody is matched whose address does not say
    /// that they are this one's.
    pub is_one_of_several: bool,
    /// The configuration in force: whoever could not be told to the application by it is refused.
    pub policy: Arc<Policy>,
    /// The attributes that the IdP gave; used only without a directory.
    pub claims: LoginAttributes,
    /// The session to be.
    pub session: NewSession,
    /// The number of the login flow, to be spent.
    pub flow: Vec<u8>,
    /// Until when the flow could be presented again.
    pub flow_until: Timestamp,
}

/// The e-mail domains that an IdP may speak for, each as [`fold::domain_key`] writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmailDomains {
    /// Every one but these, which other IdPs list.
    AnyBut(Vec<String>),
    /// These.
    Only(Vec<String>),
}

impl EmailDomains {
    /// Tells whether an address, or a name that should be one, is of these domains.
    pub fn include(&self, address: &str) -> bool {
        let domain = fold::email_domain(address);
        match self {
            Self::AnyBut(others) if others.is_empty() => true,
            Self::AnyBut(others) => domain.is_some_and(|domain| !others.contains(&domain)),
            Self::Only(listed) => domain.is_some_and(|domain| listed.contains(&domain)),
        }
    }

    /// Tells whether there is no domain that they leave out.
    fn are_all(&self) -> bool {
        matches!(self, Self::AnyBut(others) if others.is_empty())
    }
}

/// The sources of people.
#[derive(Clone, Debug)]
pub enum PeopleSource {
    /// A user must be there and be active (`scim`, `invited`).
    Directory {
        /// True where an operator adds them (`invited`), and no SCIM client (`scim`).
        invited: bool,
        /// The directories that name this IdP.
        directories: Vec<DirectoryId>,
        /// The attribute by which a subject that is not known yet is matched.
        link: LinkAttribute,
    },
    /// The session lives on what the IdP said alone (`none`).
    None,
}

impl PeopleSource {
    fn mode(&self) -> Mode {
        match self {
            Self::Directory { invited: false, .. } => Mode::Scim,
            Self::Directory { invited: true, .. } => Mode::Invited,
            Self::None => Mode::None,
        }
    }
}

/// The one attribute by which an unknown subject is matched, once.
#[derive(Clone, Debug)]
pub struct LinkAttribute {
    /// The claim's name, for messages.
    pub claim: String,
    /// Its value; `None` where the IdP did not send it.
    pub value: Option<String>,
    /// True where the value is an address that the IdP does not call verified and that may not be believed: nobody is
    /// matched by it.
    pub is_unverified_address: bool,
    /// The attribute of the User it must equal.
    pub to: LinkTo,
}

/// The attributes that an IdP gave of somebody, verified.
#[derive(Clone, Debug, Default)]
pub struct LoginAttributes {
    /// An address that may be believed: verified, or of an IdP whose addresses are trusted. Else `None`.
    pub email: Option<String>,
    /// Everything else that was said, for people and for the application.
    pub attributes: Attributes,
    /// Every address and user name that was said, believed or not: who was removed comes back under none of them.
    pub names_said: Vec<String>,
    /// The groups; `None` where nothing was said of groups, which is not the same as none.
    pub groups: Option<Vec<String>>,
}

/// The session to be.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The hash of its id.
    pub hash: SessionHash,
    /// Its absolute end, the IdP's own included.
    pub expires: Timestamp,
    /// What the IdP wants to hear again at the logout, sealed.
    pub logout_hint: Option<Vec<u8>>,
    /// The person's name at the IdP, by which it may end their sessions.
    pub idp_subject: String,
    /// The session's name at the IdP, by which it may end this one.
    pub idp_session: Option<String>,
    /// The session the browser had in this app: it ends.
    pub replaces: Option<SessionHash>,
    /// True where that one may not be a live session of another person: they were not asked.
    pub spares_others: bool,
}

/// Somebody is in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The account.
    pub account: AccountId,
    /// The facts that are known of the person, as of this transaction.
    pub facts: Arc<Facts>,
    /// The generation the session was born with.
    pub generation: Generation,
    /// True where the subject was linked just now.
    pub is_first: bool,
}

/// Nobody is in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// The person is refused, by name. The flow is spent and the refusal is in the audit.
    #[error(transparent)]
    Refused(Box<AdmissionRefusal>),
    /// The session that it would replace is another person's, and live. Nothing has changed, and nothing was spent.
    #[error("another person is signed in with this browser")]
    OfAnother,
    /// The store could not answer; nothing has changed.
    #[error("the login could not be stored")]
    Store(#[from] StoreError),
}

impl Store {
    /// Lets somebody in or refuses by name.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn log_in(
        &self,
        sign_in: VerifiedLogin,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<LoggedIn>, LoginError> {
        let origin = origin.clone();
        let keyed = self.key_subject(&sign_in.issuer, &sign_in.subject)?;
        let schemas = self.schemas.clone();
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                LoginAttempt::new(&sign_in, &schemas, keyed, &origin, now).admit_person(tx).await
            })
        })
        .await?
    }
}

/// One login under way.
struct LoginAttempt<'a> {
    asked: &'a VerifiedLogin,
    schemas: &'a Schemas,
    key: LinkKey,
    log: TxLog,
    now: Timestamp,
}

/// The account that a subject turned out to be.
struct Admitted {
    account: AccountRow,
    is_first: bool,
    /// The account the subject was linked to under another provisioning: its sessions end.
    former: Option<AccountId>,
    /// A subject of the IdP that this one replaces is linked to the account: that link goes.
    relinks: bool,
}

/// A refusal ends the login, an error the transaction.
type LoginVerdict<T> = Result<Result<T, Box<AdmissionRefusal>>, StoreError>;

/// Hands a refusal on.
macro_rules! admit {
    ($verdict:expr) => {
        match $verdict {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl<'a> LoginAttempt<'a> {
    fn new(
        asked: &'a VerifiedLogin,
        schemas: &'a Schemas,
        keyed: Keyed,
        origin: &Origin,
        now: Timestamp,
    ) -> Self {
        let key = LinkKey {
            org: asked.org,
            idp: asked.idp.to_string(),
            issuer: asked.issuer.clone(),
            subject: asked.subject.clone(),
            keyed,
        };
        Self { asked, schemas, key, log: TxLog::new(asked.org, None, origin, now), now }
    }

    async fn admit_person(
        mut self,
        tx: &mut Tx,
    ) -> Result<Result<Committed<LoggedIn>, LoginError>, StoreError> {
        let spent = spent::spend_number(tx, self.key.org, &self.asked.flow, self.asked.flow_until).await?;
        let is_new = match self.asked.statement {
            Some((id, until)) => spent::spend_number(tx, self.key.org, &id, until).await?,
            None => true,
        };
        let verdict = match (spent, is_new) {
            (true, true) => self.judge_person(tx).await?,
            (_, false) => Err(Box::new(AdmissionRefusal::Replayed)),
            (false, true) => Err(Box::new(AdmissionRefusal::FlowSpent)),
        };
        match verdict {
            Ok((admitted, _)) if self.takes_from_another(tx, &admitted).await? => {
                // As if it had not been brought: it may come again once the person was asked.
                let statement = self.asked.statement.as_ref().map(|(id, _)| id.as_slice());
                for id in statement.into_iter().chain([self.asked.flow.as_slice()]) {
                    spent::give_back(tx, self.key.org, id).await?;
                }
                Ok(Err(LoginError::OfAnother))
            }
            Ok((admitted, facts)) => {
                let signed_in = self.write_login(tx, admitted, facts).await?;
                Ok(Ok(self.log.seal(tx, signed_in).await?))
            }
            Err(refusal) => {
                // Every check comes before the first write but the flow's, so there is nothing to take back.
                let (names, subject) = (self.log.names(), self.log.named(&self.key.subject));
                let reason = if names { refusal.to_string() } else { refusal.clone().unnamed().to_string() };
                let detail = json!({ "idp": self.key.idp, "subject": subject, "reason": reason });
                self.log.add_audit("login", refusal.log_word(), None, detail);
                let _ = self.log.seal(tx, ()).await?;
                Ok(Err(LoginError::Refused(refusal)))
            }
        }
    }

    /// Who it is, and whether they may come in.
    async fn judge_person(&mut self, tx: &mut Tx) -> LoginVerdict<(Admitted, Arc<Facts>)> {
        // The epochs were read before the IdP was waited for: they are believed only as far as they still hold (R7).
        let now = epoch::read_epochs(tx, self.key.org, &self.key.idp).await?;
        if let Some(grown) = (0..now.len()).find(|n| now[*n] > self.asked.epochs[*n]) {
            return refuse_login(AdmissionRefusal::Overtaken { scope: epoch::SCOPES[grown] });
        }
        if barred::is_barred(tx, self.key.org, &self.key.keyed, Word::Disabled).await? {
            return refuse_login(AdmissionRefusal::Disabled);
        }
        let known = if self.is_linked_by() { link::find_linked(tx, &self.key).await? } else { None };
        let admitted = match &self.asked.provisioning {
            PeopleSource::Directory { directories, link, .. } => {
                admit!(self.of_directory(tx, known, directories, link).await?)
            }
            PeopleSource::None => admit!(self.of_nobody(tx, known).await?),
        };
        let account = &admitted.account;
        let facts = self.gather_facts(tx, account).await?;
        admit!(self.may_be_named(&facts, self.is_linked_by() && !admitted.is_first));
        Ok(Ok((admitted, facts)))
    }

    /// Tells whether the login would take the browser from another person who is signed in, and must not.
    async fn takes_from_another(&self, tx: &mut Tx, admitted: &Admitted) -> Result<bool, StoreError> {
        let session = &self.asked.session;
        match &session.replaces {
            Some(before) if session.spares_others => {
                session::is_live_of_another(tx, before, self.key.org, admitted.account.id, self.now).await
            }
            _ => Ok(false),
        }
    }

    /// Tells whether the subject is what the person is linked by. Without a directory there is nothing else to know them
    /// by, whatever kind of name it is; then it is also what an operator bars.
    fn is_linked_by(&self) -> bool {
        self.asked.is_durable || matches!(self.asked.provisioning, PeopleSource::None)
    }

    /// A person of a directory: the one the subject is linked to, or else the one it matches.
    async fn of_directory(
        &mut self,
        tx: &mut Tx,
        known: Option<AccountRow>,
        directories: &[DirectoryId],
        link: &LinkAttribute,
    ) -> LoginVerdict<Admitted> {
        let former = match known {
            Some(account) if let Some((directory, _)) = account.user => {
                if !directories.contains(&directory) {
                    return refuse_login(AdmissionRefusal::OtherDirectory {
                        directory,
                        idp: self.key.idp.clone(),
                    });
                }
                admit!(is_active(&account));
                return Ok(Ok(Admitted { account, is_first: false, former: None, relinks: false }));
            }
            // Linked to an account that a login made, before there was a directory: it is matched like an unknown.
            known => known.map(|account| account.id),
        };
        let account = admit!(matching::find_match(tx, self.asked, directories, link).await?);
        admit!(is_active(&account));
        let links = link::linked_through(tx, self.key.org, account.id).await?;
        if !links.iter().all(|link| self.replaces_link(link)) {
            return refuse_login(AdmissionRefusal::LinkedToAnother { to: link.to.config_word() });
        }
        let is_first = self.is_linked_by();
        Ok(Ok(Admitted { account, is_first, former, relinks: !links.is_empty() }))
    }

    /// Tells whether a link is one of the IdP that this one replaces. Subjects of this issuer are people of their
    /// own.
    fn replaces_link(&self, link: &Through) -> bool {
        self.asked.replaces.as_deref() == Some(&*link.idp) && link.issuer != self.key.issuer
    }

    /// A person without a directory: whoever the IdP says, unless somebody removed them. Whom the subject was linked to
    /// while there was a directory is told by that one's last word; if they may come in it is as somebody new, for
    /// nobody keeps a directory's name, address and groups that nobody takes away any more.
    async fn of_nobody(&mut self, tx: &mut Tx, known: Option<AccountRow>) -> LoginVerdict<Admitted> {
        if barred::is_barred(tx, self.key.org, &self.key.keyed, Word::Removed).await? {
            return refuse_login(AdmissionRefusal::Removed);
        }
        if let Some(refusal) = matching::left_out(tx, self.key.org, &self.asked.claims).await? {
            return refuse_login(refusal);
        }
        let former = match known {
            Some(account) => {
                admit!(is_active(&account));
                if account.user.is_none() {
                    return Ok(Ok(Admitted { account, is_first: false, former: None, relinks: false }));
                }
                Some(account.id)
            }
            None => None,
        };
        let draft = AccountRow {
            id: AccountId(0), // drawn once nothing can refuse any more
            generation: Generation(0),
            user: None,
            active: true,
            disabled: false,
            told: None,
        };
        Ok(Ok(Admitted { account: draft, is_first: true, former, relinks: false }))
    }

    /// Gathers what the person will be known by.
    async fn gather_facts(&self, tx: &mut Tx, account: &AccountRow) -> Result<Arc<Facts>, StoreError> {
        if account.user.is_some() {
            let described = account::describe_account(tx, self.schemas, self.key.org, account.id).await?;
            let described = described.ok_or(StoreError::Unreadable {
                table: "account",
                row: account.id.0.to_string(),
                what: "it is named but not there",
            })?;
            let mut facts = (*described.facts).clone();
            facts.subject = Some(self.asked.subject.as_str().into());
            return Ok(Arc::new(facts));
        }
        let linked = Some((self.asked.issuer.as_str(), self.asked.subject.as_str()));
        Ok(Arc::new(account::of_login(self.key.org, account.id, linked, self.login_facts())))
    }

    fn login_facts(&self) -> LoginFacts {
        let LoginAttributes { email, attributes, groups, .. } = self.asked.claims.clone();
        LoginFacts { email, attributes, groups }
    }

    /// The e-mail header's value must be of the IdP's domains, and the headers must be able to say who it is. Without a directory, and
    /// beside other IdPs, the address is all there is to tell by whose people somebody is, so it must be known; but for
    /// somebody who is linked already.
    fn may_be_named(&self, facts: &Arc<Facts>, is_linked: bool) -> Result<(), Box<AdmissionRefusal>> {
        let is_of_domain = match facts.email.as_deref() {
            Some(email) => self.asked.domains.include(email),
            None if facts.id.is_some() => is_linked || !self.asked.is_one_of_several,
            None => self.asked.domains.are_all(),
        };
        if !is_of_domain {
            return Err(Box::new(AdmissionRefusal::Domain {
                attribute: "the e-mail address",
                domain: facts.email.as_deref().and_then(fold::email_domain),
                idp: self.key.idp.clone(),
            }));
        }
        match self.asked.policy.describe_person(facts, Seq(0)) {
            Ok(_) => Ok(()),
            Err(HeaderFault::NoName { wanted }) => Err(Box::new(AdmissionRefusal::NoName { wanted })),
            Err(fault) => Err(Box::new(AdmissionRefusal::Headers(fault))),
        }
    }

    /// Everything is settled: account, link, session, audit.
    async fn write_login(
        &mut self,
        tx: &mut Tx,
        admitted: Admitted,
        facts: Arc<Facts>,
    ) -> Result<LoggedIn, StoreError> {
        let Admitted { mut account, is_first, former, relinks } = admitted;
        let org = self.key.org;
        let mut facts = facts;
        if account.user.is_none() && is_first {
            account = account::create_account(tx, org, None, true, self.now).await?;
            let linked = (self.asked.issuer.as_str(), self.asked.subject.as_str());
            account::keep_apart(tx, org, account.id, linked).await?;
            let mut named = (*facts).clone();
            named.account = account.id;
            facts = Arc::new(named);
        }
        if account.user.is_none() {
            let facts = self.login_facts();
            if account.told.is_some() && account::read_told(account.id, account.told.as_deref())? != facts {
                self.log.add_change(Change::Reconsider(account.id));
            }
            let told = serde_json::to_string(&facts).unwrap_or_default();
            account::set_used(tx, org, account.id, Some(&told), self.now).await?;
        } else {
            account::set_used(tx, org, account.id, None, self.now).await?;
        }
        if let Some(former) = former {
            let generation = account::raise_generation(tx, org, former).await?;
            self.log.add_change(Change::Out(former, generation));
        }
        let subject = subject_name(account.id, facts.id.as_deref());
        if relinks {
            // Whoever the subject before was let in as is out: their next login is by this one.
            link::remove_links(tx, org, account.id).await?;
            account.generation = account::raise_generation(tx, org, account.id).await?;
            self.log.add_change(Change::Out(account.id, account.generation));
            let detail = json!({ "idp": self.key.idp, "replaces": self.asked.replaces });
            self.log.add_event("account.relinked", &subject, detail);
        }
        if is_first {
            link::make_link(tx, &self.key, account.id, self.now).await?;
            barred::lift_removed(tx, org, &self.key.keyed).await?;
            // Whoever is in memory already has another subject, or none.
            self.log.add_change(Change::Reconsider(account.id));
            self.log.add_event("account.linked", &subject, json!({ "idp": self.key.idp }));
        } else if self.is_linked_by() {
            link::set_idp(tx, &self.key).await?;
        }
        if let Some(old) = self.asked.session.replaces
            && let Some((_, owner)) = session::end_session(tx, &old, self.now).await?
        {
            self.log.add_change(Change::Ended(owner, old));
        }
        let born = Born {
            org,
            hash: self.asked.session.hash,
            account: account.id,
            app: self.asked.app,
            idp: &self.asked.idp,
            generation: account.generation,
            created: self.now,
            expires: self.asked.session.expires,
            logout_hint: self.asked.session.logout_hint.as_deref(),
            idp_subject: &self.asked.session.idp_subject,
            idp_session: self.asked.session.idp_session.as_deref(),
        };
        session::insert_session(tx, &born).await?;
        let under = Under {
            idp: &self.key.idp,
            issuer: &self.key.issuer,
            mode: self.asked.provisioning.mode(),
            directory: account.user.map(|(directory, _)| directory),
        };
        standing::note_standing(tx, org, under).await?;
        let detail = json!({
            "idp": self.key.idp,
            "subject": self.log.named(&self.key.subject),
            "user": subject,
            "session": format!("{:?}", self.asked.session.hash),
            "first": is_first,
        });
        self.log.add_audit("login", "accepted", Some(account.id), detail);
        Ok(LoggedIn { account: account.id, facts, generation: account.generation, is_first })
    }
}

fn refuse_login<T>(refusal: AdmissionRefusal) -> LoginVerdict<T> {
    Ok(Err(Box::new(refusal)))
}

/// Checks that the directory and the operator let the person in.
fn is_active(account: &AccountRow) -> Result<(), Box<AdmissionRefusal>> {
    match account {
        AccountRow { active: false, .. } => Err(Box::new(AdmissionRefusal::Inactive)),
        AccountRow { disabled: true, .. } => Err(Box::new(AdmissionRefusal::Disabled)),
        _ => Ok(()),
    }
}
