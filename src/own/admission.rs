//! Admission: which verified login lets somebody in, and what of it is believed.
//!
//! Here is where an address that its token does not call verified is believed or not (`trust_email`).

use std::sync::Arc;

use portcullis_keys::sha256;
use portcullis_policy::{AppId, Attributes, DirectoryId, LinkTo, OrgId, Policy, Timestamp};
use portcullis_sso::{Assertion, FLOW_MS, Pending};
use portcullis_store as store;

/// The terms on which a verified login lets somebody in, and for how long.
pub(crate) struct Admission {
    /// Without a directory there is nothing to match.
    pub(crate) directory: bool,
    /// True where the directory lets this IdP sign in its people.
    pub(crate) may_sign_in: bool,
    pub(crate) invited: bool,
    /// The name of the IdP that this one replaces.
    pub(crate) replaces: Option<Arc<str>>,
    pub(crate) claim: String,
    pub(crate) to: LinkTo,
    pub(crate) domains: store::EmailDomains,
    /// True where other IdPs sign people in too.
    pub(crate) is_one_of_several: bool,
    pub(crate) trust_email: bool,
    pub(crate) absolute_ms: i64,
}

impl Admission {
    /// Makes what the store is asked to let in.
    pub(crate) fn verified_login(
        &self,
        app: AppId,
        assertion: &Assertion,
        session: store::NewSession,
        flow: &Pending,
        policy: Arc<Policy>,
    ) -> store::VerifiedLogin {
        let (issuer, subject) = (assertion.issuer().to_owned(), assertion.subject().to_owned());
        let provisioning = if self.directory {
            // Of a login that began under another configuration another claim may have been read.
            let found = assertion.link().filter(|link| link.claim == self.claim);
            let is_unverified = found.is_some_and(|link| link.is_unverified_address);
            let link = store::LinkAttribute {
                claim: self.claim.clone(),
                value: found.map(|link| link.value.clone()),
                is_unverified_address: is_unverified && !self.trust_email,
                to: self.to,
            };
            let directories = if self.may_sign_in { vec![DirectoryId::ONLY] } else { Vec::new() };
            let invited = self.invited;
            store::PeopleSource::Directory { invited, directories, link }
        } else {
            store::PeopleSource::None
        };
        let believed = assertion.email_verified() || self.trust_email;
        let text = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        let mut attributes = assertion.attributes().clone();
        if let Some(name) =
            assertion.unverified_user_name().filter(|name| self.trust_email && self.domains.include(name))
        {
            attributes.add_texts(Attributes::PREFERRED_USERNAME, [name]);
        }
        let claims = store::LoginAttributes {
            email: text(assertion.email()).filter(|_| believed),
            attributes,
            names_said: assertion.names_said().to_vec(),
            groups: assertion.groups().map(<[String]>::to_vec),
        };
        let statement = assertion
            .replay()
            .map(|replay| (sha256(format!("saml_assertion {}", replay.id).as_bytes()), replay.until));
        store::VerifiedLogin {
            is_durable: assertion.is_durable(),
            statement,
            org: OrgId::ONLY,
            app,
            idp: assertion.idp().into(),
            replaces: self.replaces.clone(),
            epochs: flow.epochs(),
            issuer,
            subject,
            provisioning,
            domains: self.domains.clone(),
            is_one_of_several: self.is_one_of_several,
            policy,
            claims,
            session,
            flow: sha256(flow.state().as_bytes()).to_vec(),
            flow_until: flow.started().plus_ms(FLOW_MS),
        }
    }

    /// Tells whether a subject is linked to a person of the directory. A store that does not answer is none: the
    /// login itself will say so.
    pub(crate) async fn is_known(&self, store: &store::Store, issuer: &str, subject: &str) -> bool {
        self.directory && store.is_linked(OrgId::ONLY, issuer, subject).await.unwrap_or(false)
    }

    /// Gives the latest end of a session that begins now; the IdP's own end counts too.
    pub(crate) fn session_end(&self, now: Timestamp, at_idp: Option<Timestamp>) -> Timestamp {
        let ours = now.plus_ms(self.absolute_ms);
        at_idp.map_or(ours, |theirs| ours.min(theirs))
    }
}
