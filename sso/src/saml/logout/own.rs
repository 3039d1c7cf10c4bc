//! The logout messages that we send.

use std::fmt;

use portcullis_policy::Timestamp;

use crate::saml::builder::{build_element, build_text};
use crate::saml::instant::write_instant;
use crate::saml::outbound::OutboundMessage;
use crate::saml::parameter::SamlParameter;
use crate::saml::profile::NameId;
use crate::saml::status::SUCCESS;
use crate::saml::xml::XmlElement;

const RESPONDER: &str = "urn:oasis:names:tc:SAML:2.0:status:Responder";

/// A request of ours to end somebody's session at the identity provider.
#[derive(Clone, Copy)]
pub struct OwnLogoutRequest<'a> {
    /// The ID, by [`crate::draw_message_id`]: the answer must name it.
    pub id: &'a str,
    /// The address of single logout, as the metadata has it.
    pub destination: &'a str,
    /// Our own entity ID.
    pub issuer: &'a str,
    /// The time.
    pub issue_instant: Timestamp,
    /// The time from which the request is worth nothing.
    pub not_on_or_after: Timestamp,
    /// The person, exactly as the identity provider named them at the login.
    pub name_id: &'a NameId,
    /// The sessions there that end; empty for all of the person's.
    pub session_indexes: &'a [String],
}

impl fmt::Debug for OwnLogoutRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnLogoutRequest(id {})", self.id)
    }
}

impl OwnLogoutRequest<'_> {
    /// Writes the message; signing it and sending it is one step further.
    pub fn write_message(&self) -> OutboundMessage {
        let name = [
            ("Format", self.name_id.format.as_deref()),
            ("NameQualifier", self.name_id.name_qualifier.as_deref()),
            ("SPNameQualifier", self.name_id.sp_name_qualifier.as_deref()),
        ];
        let mut parts = vec![build_text("saml:Issuer", &[], self.issuer)];
        parts.push(build_text("saml:NameID", &name, &self.name_id.value));
        parts.extend(self.session_indexes.iter().map(|index| build_text("samlp:SessionIndex", &[], index)));
        let (issued, end) = (write_instant(self.issue_instant), write_instant(self.not_on_or_after));
        let attributes = [
            ("ID", Some(self.id)),
            ("Version", Some("2.0")),
            ("IssueInstant", Some(&*issued)),
            ("Destination", Some(self.destination)),
            ("NotOnOrAfter", Some(&*end)),
        ];
        let root = build_element("samlp:LogoutRequest", &attributes, parts);
        OutboundMessage::new(SamlParameter::Request, self.destination, root)
    }
}

/// The outcome of a logout here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// Every session that was meant is over, or there was none.
    Success,
    /// The sessions could not be ended.
    Failed,
}

/// Our answer to a request of the identity provider.
#[derive(Clone, Copy, Debug)]
pub struct OwnLogoutResponse<'a> {
    /// The ID, by [`crate::draw_message_id`].
    pub id: &'a str,
    /// The address for answers, by [`crate::SamlEndpoint::response_location`].
    pub destination: &'a str,
    /// Our own entity ID.
    pub issuer: &'a str,
    /// The time.
    pub issue_instant: Timestamp,
    /// The request that is answered.
    pub in_response_to: &'a str,
    /// The outcome.
    pub outcome: LogoutOutcome,
}

impl OwnLogoutResponse<'_> {
    /// Writes the message; signing it and sending it is one step further.
    pub fn write_message(&self) -> OutboundMessage {
        let issued = write_instant(self.issue_instant);
        let attributes = [
            ("ID", Some(self.id)),
            ("Version", Some("2.0")),
            ("IssueInstant", Some(&*issued)),
            ("Destination", Some(self.destination)),
            ("InResponseTo", Some(self.in_response_to)),
        ];
        let parts = vec![build_text("saml:Issuer", &[], self.issuer), build_status(self.outcome)];
        let root = build_element("samlp:LogoutResponse", &attributes, parts);
        OutboundMessage::new(SamlParameter::Response, self.destination, root)
    }
}

fn build_status(outcome: LogoutOutcome) -> XmlElement {
    let code = match outcome {
        LogoutOutcome::Success => SUCCESS,
        LogoutOutcome::Failed => RESPONDER,
    };
    let code = build_element("samlp:StatusCode", &[("Value", Some(code))], Vec::new());
    build_element("samlp:Status", &[], vec![code])
}
