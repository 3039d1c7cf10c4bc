//! The request for a login (SAML Core §3.4.1, Profiles §4.1.4.1).

use portcullis_policy::Timestamp;

use super::builder::{build_element, build_text};
use super::instant::write_instant;
use super::metadata::SamlBinding;
use super::outbound::OutboundMessage;
use super::parameter::SamlParameter;

const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

/// A request for a login. Its answer comes by form, to `acs_url`.
#[derive(Clone, Copy, Debug)]
pub struct AuthnRequest<'a> {
    /// The ID, by [`super::draw_message_id`]: the response must answer it.
    pub id: &'a str,
    /// The address of single sign-on, as the metadata has it.
    pub destination: &'a str,
    /// Our own entity ID.
    pub issuer: &'a str,
    /// The address that the response is posted to.
    pub acs_url: &'a str,
    /// Asks the person to sign in though they are signed in there.
    pub force_authn: bool,
    /// The format of the name that is asked for; `None` leaves it to the identity provider.
    pub name_id_policy: Option<&'a str>,
    /// The authentication contexts of which one is asked for; empty asks for none.
    pub requested_authn_context: &'a [String],
    /// The time.
    pub issue_instant: Timestamp,
}

impl AuthnRequest<'_> {
    /// Writes the message; signing it and sending it is one step further.
    pub fn write_message(&self) -> OutboundMessage {
        let mut parts = vec![build_text("saml:Issuer", &[], self.issuer)];
        if let Some(format) = self.name_id_policy {
            // A name for one session is never created for good (SAML Core §3.4.1.1).
            let allow_create = (format != TRANSIENT).then_some("true");
            let policy = [("Format", Some(format)), ("AllowCreate", allow_create)];
            parts.push(build_element("samlp:NameIDPolicy", &policy, Vec::new()));
        }
        if !self.requested_authn_context.is_empty() {
            let classes = self.requested_authn_context.iter();
            let classes = classes.map(|class| build_text("saml:AuthnContextClassRef", &[], class)).collect();
            parts.push(build_element(
                "samlp:RequestedAuthnContext",
                &[("Comparison", Some("exact"))],
                classes,
            ));
        }
        let issue_instant = write_instant(self.issue_instant);
        let attributes = [
            ("ID", Some(self.id)),
            ("Version", Some("2.0")),
            ("IssueInstant", Some(&*issue_instant)),
            ("Destination", Some(self.destination)),
            ("ForceAuthn", self.force_authn.then_some("true")),
            ("ProtocolBinding", Some(SamlBinding::Post.uri())),
            ("AssertionConsumerServiceURL", Some(self.acs_url)),
        ];
        let root = build_element("samlp:AuthnRequest", &attributes, parts);
        OutboundMessage::new(SamlParameter::Request, self.destination, root)
    }
}
