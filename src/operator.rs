//! What an operator may order by hand: people in and out, and to be told: who there is and why, what was done, and
//! what a reference number means.
//!
//! A running program takes these orders on its admin socket; without one, the command line carries them out itself on
//! the store that it has locked. Either way it is this code, behind the same router, so both are the same road: what
//! takes away is committed and then enforced before the operator is told that it is done (R5). It refuses to add
//! people where a directory is meant to say who there is, and to remove whom it would bring back.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use portcullis_policy::{AccountId, Bindings, DirectoryId, OrgId, Seq, Timestamp, UserFrom};
use portcullis_proxy::LogDetail;
use portcullis_session::{Committed, Sessions};
use portcullis_store::{
    Audit, LinkDetails, NewUser, Origin, RelinkTo, SessionDetails, Store, UserDetails, UserError, UserSummary,
};
use serde::{Deserialize, Serialize};

use crate::assertion_keys::AssertionKeys;
use crate::handover::Upgrades;
use crate::idp_keys::IdpKeys;
use crate::import::turn::Imports;
use crate::metrics::Metrics;
use crate::order::{ACTOR, BY, Means, Order, facts_for_log};
use crate::order_error::OrderError;
use crate::person::{People, UserListing, format_rfc3339, user_listing};
use crate::revocation::{LEAVE, Revocation};
use crate::tokens::TokenBook;

/// Carries out orders by one configuration.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) store: Arc<Store>,
    pub(crate) revocation: Revocation,
    /// The word on the signing keys of identity providers.
    #[cfg_attr(not(feature = "saml"), expect(dead_code, reason = "only SAML has keys that are kept"))]
    pub(crate) idp_keys: Arc<IdpKeys>,
    /// The tokens by which the directory writes.
    pub(crate) tokens: Arc<TokenBook>,
    /// The keys of the header that is signed; `None` where the master key was not read.
    pub(crate) assertion_keys: Option<Arc<AssertionKeys>>,
    pub(crate) terms: Terms,
    /// True where this process serves, so that somebody may be in. Else only the store is written.
    pub(crate) serves: bool,
    /// The files that are imported, one at a time.
    pub(crate) imports: Imports,
    /// The counts of the program that serves; `None` where this process does not.
    pub(crate) metrics: Option<Arc<Metrics>>,
    /// The upgrades of the program that serves.
    pub(crate) upgrades: Option<Arc<Upgrades>>,
}

/// The terms of the configuration that orders go by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// The source of people; `None` where no configuration could be read.
    pub(crate) people: Option<People>,
    /// The address of the app, for people.
    pub(crate) address: Option<String>,
    /// The naming of people in the log.
    pub(crate) log: LogDetail,
    /// The identity providers that are configured: where `user relink` moves links to; none where no configuration could
    /// be read.
    pub(crate) relink_to: Vec<RelinkTo>,
    /// True where the identity headers are those of a configuration.
    pub(crate) knows_headers: bool,
}

/// A person to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPerson {
    /// Their name at the IdP: compared with the claim that `link` names, as `userName`.
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// The IdP's own id of the person, compared as `externalId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<String>,
}

/// The person who was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    pub(crate) id: String,
    /// The address to send them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// The reason why the application could not be told of them, and what to change, where the configuration in force says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsaid: Option<String>,
}

/// One person, with everything that is kept of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PersonDetails {
    #[serde(flatten)]
    pub(crate) user: UserListing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// The IdP's own id of the person, where the directory has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<String>,
    pub(crate) created: String,
    pub(crate) links: Vec<Linked>,
    pub(crate) groups: Vec<GroupRoles>,
    /// Roles that attributes of theirs give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<AttributeRole>,
    /// Roles that the bindings give and a line of `conflicts` takes.
    pub(crate) lost: Vec<LostRole>,
    /// The newest first, 100 at most.
    pub(crate) sessions: Vec<LiveSession>,
}

/// A person's subject at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Linked {
    pub(crate) idp: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) since: String,
}

/// A group of a person, and the roles that it gives by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRoles {
    pub(crate) name: String,
    /// Only through another group.
    pub(crate) nested: bool,
    pub(crate) gives: Vec<String>,
}

/// A value of an attribute, and the role that it gives by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttributeRole {
    /// Both in words: `department "finance"`.
    pub(crate) by: String,
    pub(crate) gives: String,
}

/// A role that is not granted, and the stricter one that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LostRole {
    pub(crate) role: String,
    pub(crate) to: String,
}

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LiveSession {
    /// Its name in log lines.
    pub(crate) session: String,
    pub(crate) idp: String,
    pub(crate) since: String,
    pub(crate) heard: String,
    pub(crate) until: String,
}

/// Some of the audit, the newest first; `next` asks for those before them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Audits {
    pub(crate) audits: Vec<Audited>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// One row of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Audited {
    pub(crate) time: String,
    pub(crate) seq: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    pub(crate) detail: serde_json::Value,
}

/// Some of the people; `next` asks for those behind them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Users {
    pub(crate) users: Vec<UserListing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<i64>,
}

/// A refusal that a reference number leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReferredRefusal {
    pub(crate) reference: String,
    pub(crate) at: String,
    /// The whole record as it was kept.
    pub(crate) record: serde_json::Value,
}

/// The number of people that one answer holds.
const A_PAGE: u32 = 1000;

/// The headers by which the application would know a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToldHeaders {
    /// Each with its value, in their order; a secret is hidden.
    pub(crate) headers: Vec<(String, String)>,
    /// What cannot be written in the encoding of a header: the header and the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<(String, String)>,
    /// What the signed header says of the person, where there is one; each has what is of the session and the hour besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claims: Option<serde_json::Value>,
    /// The reason why nothing can be told, and so nobody is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// The advice where nothing can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// True where the person may be let in at all: not removed, not inactive, not disabled.
    pub(crate) active: bool,
}

impl Operator {
    fn order_means(&self) -> Means {
        let Self { store, revocation, terms, serves, .. } = self;
        Means { store: store.clone(), revocation: revocation.clone(), log: terms.log, serves: *serves }
    }

    /// People in the order in which their accounts were made, behind the account `after`.
    ///
    /// # Errors
    /// [`OrderError::Store`].
    pub(crate) async fn list_users(&self, after: Option<i64>) -> Result<Users, OrderError> {
        let found = self.store.user_list(OrgId::ONLY, after.map(AccountId), A_PAGE).await;
        let sessions = self.revocation.sessions();
        let (policy, people) = (sessions.policy(), self.terms.people);
        let shown = |user: UserSummary| UserListing {
            on_hold: is_on_hold(sessions, &user),
            ..user_listing(user, policy.bindings()).with_source(people)
        };
        let users: Vec<UserListing> = found.map_err(OrderError::Store)?.into_iter().map(shown).collect();
        let whole = users.len() == A_PAGE as usize;
        let next = users.last().filter(|_| whole).map(|last| last.account);
        Ok(Users { users, next })
    }

    /// Adds a person.
    ///
    /// # Errors
    /// [`OrderError::Refused`] where people do not come by hand, or the name is taken or none.
    pub(crate) async fn add_user(&self, person: NewPerson) -> Result<Added, OrderError> {
        if self.terms.people != Some(People::Invited) {
            return Err(OrderError::Refused(
                "people are added by hand only with provisioning: invited. Add the person at the identity \
                 provider"
                    .to_owned(),
            ));
        }
        let NewPerson { name, email, display_name, external_id } = person;
        let user = NewUser { user_name: name.clone(), email: email.clone(), display_name, external_id };
        let adding = move |store: Arc<Store>| async move {
            store
                .user_add(OrgId::ONLY, DirectoryId::ONLY, user, &Origin::of_actor(ACTOR), Timestamp::now())
                .await
        };
        let id = self.carry_out_order(adding).await?;
        let facts = facts_for_log(AccountId(0), Some(id.as_str()), email.as_deref());
        let named = self.terms.log.shown_user(&facts, Some(&name));
        tracing::info!(by = BY, user = named.as_deref(), "a person was added by hand");
        // The subject is known once they have signed in; and a command without a configuration has no headers at hand.
        let is_told = self.terms.knows_headers
            && self.revocation.sessions().policy().identity().user != UserFrom::Subject;
        let told = if is_told { self.explain_headers(id.as_str()).await.ok() } else { None };
        let unsaid = told.and_then(|told| Some(format!("{}. {}", told.fault?, told.help?)));
        Ok(Added { id: id.to_string(), address: self.terms.address.clone(), unsaid })
    }

    /// Everything that is kept of a person.
    ///
    /// # Errors
    /// [`OrderError::Unknown`], [`OrderError::Refused`] where the name names several.
    pub(crate) async fn show_user(&self, who: &str) -> Result<PersonDetails, OrderError> {
        let now = Timestamp::now();
        let details = self.store.user_show(OrgId::ONLY, who, now).await?;
        let sessions = self.revocation.sessions();
        let on_hold = is_on_hold(sessions, &details.user);
        let heard_after = now.plus_ms(sessions.idle_ms().saturating_neg());
        let mut shown = person_details(details, sessions.policy().bindings(), heard_after);
        shown.user = UserListing { on_hold, ..shown.user.with_source(self.terms.people) };
        Ok(shown)
    }

    /// The headers by which the application would know a person, by the configuration in force.
    ///
    /// # Errors
    /// As [`show_user`](Self::show_user).
    pub(crate) async fn explain_headers(&self, who: &str) -> Result<ToldHeaders, OrderError> {
        let details = self.store.user_show(OrgId::ONLY, who, Timestamp::now()).await?;
        let described = self.store.read_description(OrgId::ONLY, details.user.account).await;
        let described = described.map_err(OrderError::Store)?;
        let Some(described) = described else { return Err(OrderError::Unknown(who.to_owned())) };
        let (policy, active) = (self.revocation.sessions().policy(), described.active);
        Ok(match policy.describe_person(&described.facts, described.at) {
            Ok(principal) => {
                let shown = |name: &HeaderName, value: &HeaderValue| match value.is_sensitive() {
                    true => "(a secret)".to_owned(),
                    false => policy.identity().encoding_of(name).read(value.as_bytes()),
                };
                let fields = principal.identity_headers().iter();
                let headers = fields.map(|(name, value)| (name.as_str().to_owned(), shown(name, value)));
                let claims = principal.claims().map(|claims| claims.to_value());
                let left_out =
                    policy.identity().left_out(principal.name(), principal.facts(), principal.roles());
                let left_out = left_out.into_iter().map(|(name, text)| (name.as_str().to_owned(), text));
                ToldHeaders {
                    headers: headers.collect(),
                    left_out: left_out.collect(),
                    claims,
                    fault: None,
                    help: None,
                    active,
                }
            }
            Err(fault) => ToldHeaders {
                headers: Vec::new(),
                left_out: Vec::new(),
                claims: None,
                fault: Some(fault.to_string()),
                help: Some(fault.remedy().to_owned()),
                active,
            },
        })
    }

    /// Removes a person as the directory would. Where one says who there is, it would bring them back: refused.
    ///
    /// # Errors
    /// As [`disable_user`](Self::disable_user); [`OrderError::Refused`] where it is not an operator's word.
    pub(crate) async fn remove_user(&self, who: String) -> Result<UserListing, OrderError> {
        match self.terms.people {
            Some(People::Invited | People::Login) => {}
            Some(People::Directory) => {
                return Err(OrderError::Refused(
                    "the directory says who there is (provisioning: scim), and its next sync would bring them back. \
                     Remove the person at the identity provider; until that has come here, put them out with \
                     portcullis user disable"
                        .to_owned(),
                ));
            }
            None => {
                return Err(OrderError::Refused(
                    "whether a directory says who there is stands in the configuration, which was not read: name it \
                     with -c FILE. To put the person out now: portcullis user disable"
                        .to_owned(),
                ));
            }
        }
        let order =
            Order { what: "a person was removed by hand", verb: "user remove", who, takes_away: true };
        let write = move |store: Arc<Store>, who: String| async move {
            store.user_remove(OrgId::ONLY, &who, &Origin::of_actor(ACTOR), Timestamp::now()).await
        };
        order.carry_out(self.order_means(), write).await
    }

    /// Ends every session of a person.
    ///
    /// # Errors
    /// As [`disable_user`](Self::disable_user).
    pub(crate) async fn end_sessions(&self, who: String) -> Result<UserListing, OrderError> {
        let order = Order {
            what: "the sessions of a person were ended by hand",
            verb: "user end-sessions",
            who,
            takes_away: true,
        };
        let write = move |store: Arc<Store>, who: String| async move {
            store.user_end_sessions(OrgId::ONLY, &who, &Origin::of_actor(ACTOR), Timestamp::now()).await
        };
        order.carry_out(self.order_means(), write).await
    }

    /// The audit, the newest first: `limit` rows before the one that `before` names.
    ///
    /// # Errors
    /// [`OrderError::Refused`] for a `before` that no answer gave; [`OrderError::Store`].
    pub(crate) async fn list_audits(&self, before: Option<&str>, limit: u32) -> Result<Audits, OrderError> {
        let place = |text: &str| {
            let (seq, n) = text.split_once('.')?;
            Some((Seq(seq.parse().ok()?), n.parse().ok()?))
        };
        let before = match before.map(|text| place(text).ok_or(text)) {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(text)) => {
                return Err(OrderError::Refused(format!("{text:?} is not where an answer ended")));
            }
        };
        let limit = limit.min(A_PAGE);
        let found = self.store.audits_before(OrgId::ONLY, before, limit).await.map_err(OrderError::Store)?;
        let whole = found.len() == limit as usize;
        let next = found.last().filter(|_| whole).map(|last| format!("{}.{}", last.seq.0, last.n));
        Ok(Audits { audits: found.into_iter().map(audit_entry).collect(), next })
    }

    /// Puts a person out until an operator lets them in again.
    ///
    /// # Errors
    /// [`OrderError::Unknown`], [`OrderError::Refused`] where the name names several.
    pub(crate) async fn disable_user(&self, who: String) -> Result<UserListing, OrderError> {
        let order =
            Order { what: "a person was put out by hand", verb: "user disable", who, takes_away: true };
        let write = move |store: Arc<Store>, who: String| async move {
            store.user_disable(OrgId::ONLY, &who, &Origin::of_actor(ACTOR), Timestamp::now()).await
        };
        order.carry_out(self.order_means(), write).await
    }

    /// Takes a `disable` back.
    ///
    /// # Errors
    /// As [`disable_user`](Self::disable_user).
    pub(crate) async fn enable_user(&self, who: String) -> Result<UserListing, OrderError> {
        let order =
            Order { what: "a person was let in again by hand", verb: "user enable", who, takes_away: false };
        let revocation = self.revocation.clone();
        let write = move |store: Arc<Store>, who: String| async move {
            let (org, origin) = (OrgId::ONLY, Origin::of_actor(ACTOR));
            let named = store.find_named(org, &who).await?;
            // Put out by an order that was never stored: what it would have ended does not come back with this one.
            let is_held = |account| revocation.sessions().is_held(org, account, None);
            let ended = match named.all_accounts().any(is_held) {
                true => Some(store.user_end_sessions(org, &who, &origin, Timestamp::now()).await?),
                false => None,
            };
            let enabled = store.user_enable(org, &who, &origin, Timestamp::now()).await?;
            Ok(match ended {
                Some(ended) => ended.and_with(enabled, |_, user| user),
                None => enabled,
            })
        };
        order.carry_out(self.order_means(), write).await
    }

    /// Finds the refusal that a reference number leads to.
    ///
    /// # Errors
    /// [`OrderError::Unknown`] where nothing is kept under it (any more).
    pub(crate) async fn find_reference(&self, reference: &str) -> Result<ReferredRefusal, OrderError> {
        match self.store.find_refusal(reference).await.map_err(OrderError::Store)? {
            Some(refused) => Ok(ReferredRefusal {
                reference: refused.reference,
                at: format_rfc3339(refused.at),
                record: serde_json::from_str(&refused.record)
                    .unwrap_or(serde_json::Value::String(refused.record)),
            }),
            None => Err(OrderError::Unknown(format!(
                "nothing is kept under {reference}. The store has the last 10,000 refusals, ten a second at most; \
                 the log has every one"
            ))),
        }
    }

    /// Commits and enforces an order that puts nobody on hold.
    pub(crate) async fn carry_out_order<T, W>(
        &self,
        write: impl FnOnce(Arc<Store>) -> W,
    ) -> Result<T, OrderError>
    where
        T: Send + 'static,
        W: Future<Output = Result<Committed<T>, UserError>> + Send + 'static,
    {
        Ok(self.revocation.carry_out(write(self.store.clone()), LEAVE).wait_done().await?.value)
    }
}

fn is_on_hold(sessions: &Sessions, user: &UserSummary) -> bool {
    let subject = user.directory.zip(user.id.clone());
    sessions.is_held(OrgId::ONLY, user.account, subject.as_ref())
}

fn person_details(details: UserDetails, bindings: &Bindings, heard_after: Timestamp) -> PersonDetails {
    let UserDetails { user, external_id, created, others, links, nested, sessions } = details;
    let stated = user.groups.iter().map(String::as_str);
    let lost = bindings.resolve_stated(stated, user.attributes.as_ref()).lost;
    let lost = lost.iter().map(|lost| LostRole { role: (*lost.role).to_owned(), to: (*lost.to).to_owned() });
    let group = |name: &String| GroupRoles {
        name: name.clone(),
        nested: nested.contains(name),
        gives: bindings.given_by(name).map(|role| (**role).to_owned()).collect(),
    };
    let link = |link: LinkDetails| {
        let LinkDetails { idp, issuer, subject, since } = link;
        Linked { idp, issuer, subject, since: format_rfc3339(since) }
    };
    let session = |session: SessionDetails| LiveSession {
        session: format!("{:?}", session.hash),
        idp: session.idp,
        since: format_rfc3339(session.created),
        heard: format_rfc3339(session.seen),
        until: format_rfc3339(session.expires),
    };
    let live = sessions.into_iter().filter(|session| session.seen > heard_after);
    PersonDetails {
        email: user.email.clone(),
        external_id,
        created: format_rfc3339(created),
        links: links.into_iter().map(link).collect(),
        groups: user.groups.iter().map(group).collect(),
        attributes: user
            .attributes
            .iter()
            .flat_map(|stated| bindings.given_by_attributes(stated))
            .map(|(by, role)| AttributeRole { by, gives: (**role).to_owned() })
            .collect(),
        lost: lost.collect(),
        sessions: live.map(session).collect(),
        user: UserListing {
            others: others.into_iter().map(|account| account.0).collect(),
            ..user_listing(user, bindings)
        },
    }
}

fn audit_entry(audit: Audit) -> Audited {
    Audited {
        time: format_rfc3339(audit.at),
        seq: audit.seq.0,
        actor: audit.actor,
        action: audit.action,
        outcome: audit.outcome,
        account: audit.account.map(|account| account.0),
        client: audit.client,
        reference: audit.reference,
        detail: serde_json::from_str(&audit.detail).unwrap_or(serde_json::Value::String(audit.detail)),
    }
}
