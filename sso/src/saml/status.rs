//! The status of a response: success, or why the identity provider let nobody in (SAML Core §3.2.2).

use super::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

/// The success of a response (SAML Core §3.2.2.2).
pub(crate) const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";

/// Checks that a response says success.
pub(crate) fn check_status(response: &XmlElement) -> Result<(), LoginRefusal> {
    let status = response.first_named(namespace::PROTOCOL, "Status");
    let code = status.and_then(|status| status.first_named(namespace::PROTOCOL, "StatusCode"));
    let value = code.and_then(|code| code.attribute("Value"));
    if value == Some(SUCCESS) {
        return Ok(());
    }
    let inner = code.and_then(|code| code.first_named(namespace::PROTOCOL, "StatusCode"));
    let message = status
        .and_then(|status| status.first_named(namespace::PROTOCOL, "StatusMessage"))
        .and_then(XmlElement::text)
        .map(str::trim);
    let mut got = value.map_or("no status", bare_code).to_owned();
    if let Some(inner) = inner.and_then(|inner| inner.attribute("Value")) {
        got = format!("{got}, {}", bare_code(inner));
    }
    if let Some(message) = message.filter(|message| !message.is_empty()) {
        // `unnamed` cuts here: behind it the provider says what it likes, perhaps of whom.
        got = format!("{got}: {message}");
    }
    Err(LoginRefusal::new(
        Class::SamlStatus,
        "Success",
        got,
        "The identity provider let nobody in and says why. Look into its own sign-in log; most often the person is not \
         assigned to its application.",
    ))
}

fn bare_code(code: &str) -> &str {
    code.strip_prefix("urn:oasis:names:tc:SAML:2.0:status:").unwrap_or(code)
}
