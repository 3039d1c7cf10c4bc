//! The identity headers: their names, where the values come from, how values are encoded.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::{Attributes, Facts, NoName, Roles};

/// Every identity header of every preset this build knows, lower case. The proxy strips all of them from clients,
/// whatever is configured.
pub const IDENTITY_HEADERS: [&str; 5] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-roles",
    "x-forwarded-preferred-username",
];

const USER: HeaderName = HeaderName::from_static(IDENTITY_HEADERS[0]);
const EMAIL: HeaderName = HeaderName::from_static(IDENTITY_HEADERS[1]);
const GROUPS: HeaderName = HeaderName::from_static(IDENTITY_HEADERS[2]);
const ROLES: HeaderName = HeaderName::from_static(IDENTITY_HEADERS[3]);
const PREFERRED: HeaderName = HeaderName::from_static(IDENTITY_HEADERS[4]);

/// The source of the user header's value. It never falls back to another source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFrom {
    /// `userName` of the SCIM User: the default with a directory.
    UserName,
    /// `id` of the SCIM User.
    Id,
    /// `externalId` of the SCIM User.
    ExternalId,
    /// The subject at the IdP.
    Subject,
    /// A verified e-mail address: the default without a directory.
    Email,
}

impl UserFrom {
    /// The word of the configuration.
    pub fn config_word(self) -> &'static str {
        match self {
            Self::UserName => "userName",
            Self::Id => "id",
            Self::ExternalId => "externalId",
            Self::Subject => "subject",
            Self::Email => "email",
        }
    }

    /// The value for a person.
    ///
    /// # Errors
    /// [`NoName`] where it is not known or empty.
    pub fn name_of(self, facts: &Facts) -> Result<Arc<str>, NoName> {
        let value = match self {
            Self::UserName => &facts.user_name,
            Self::Id => &facts.id,
            Self::ExternalId => &facts.external_id,
            Self::Subject => &facts.subject,
            Self::Email => &facts.email,
        };
        value.clone().filter(|value| !value.is_empty()).ok_or(NoName { wanted: self.config_word() })
    }
}

/// The identity headers as they are written for the application: the preset `x-forwarded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The source of the user header's value.
    pub user: UserFrom,
}

impl IdentityHeaders {
    /// The headers of a person. An empty list and an unknown value are no header at all.
    pub(crate) fn prepare(self, name: &str, facts: &Facts, roles: &Roles) -> PreparedHeaders {
        let one = |value: Option<&str>| value.filter(|v| !v.is_empty()).map(encode_one);
        let said = [
            (USER, Some(encode_one(name))),
            (EMAIL, one(facts.email.as_deref())),
            (GROUPS, encode_list(&facts.groups)),
            (ROLES, encode_list(roles.names())),
            (PREFERRED, one(facts.attributes.first_text(Attributes::PREFERRED_USERNAME))),
        ];
        let mut lines = Vec::new();
        let mut fields = Vec::new();
        for (header, value) in said {
            let Some(value) = value.and_then(|value| HeaderValue::from_maybe_shared(Bytes::from(value)).ok())
            else {
                continue;
            };
            for part in [header.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
            fields.push((header, value));
        }
        PreparedHeaders { fields: fields.into(), lines: lines.into() }
    }
}

/// The identity headers of one person, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct PreparedHeaders {
    pub(crate) fields: Arc<[(HeaderName, HeaderValue)]>,
    /// The same as lines of HTTP/1.1.
    pub(crate) lines: Arc<[u8]>,
}

fn encode_one(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    encode_value(value, None, &mut out);
    out
}

fn encode_list(values: &[Arc<str>]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        if !out.is_empty() {
            out.push(b',');
        }
        encode_value(value, Some(b','), &mut out);
    }
    (!out.is_empty()).then_some(out)
}

/// Percent-encodes as UTF-8 what is outside 0x20–0x7E, is `%` or the list's separator, or is a blank at either end:
/// one to one, so the application can decode it.
fn encode_value(value: &str, separator: Option<u8>, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let last = value.len().wrapping_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let blank_at_an_end = byte == b' ' && (at == 0 || at == last);
        if (0x20..0x7f).contains(&byte) && byte != b'%' && Some(byte) != separator && !blank_at_an_end {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Option<String> {
        let values: Vec<Arc<str>> = values.iter().map(|v| (*v).into()).collect();
        encode_list(&values).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lists_are_joined_by_a_bare_comma_and_an_empty_one_is_none() {
        assert_eq!(list(&["a", "b c"]).as_deref(), Some("a,b c"));
        assert_eq!(list(&["a,b", "50%"]).as_deref(), Some("a%2Cb,50%25"));
        assert_eq!(list(&[" edge "]).as_deref(), Some("%20edge%20"));
        assert_eq!(list(&[]), None);
        assert_eq!(list(&[""]), None);
    }

    proptest::proptest! {
        /// Whatever a directory holds, the header is valid, decodes to the same, and no two lists share a header.
        #[test]
        fn encoding_is_one_to_one(values in proptest::collection::vec("\\PC{1,12}|[\\x00-\\x7f]{1,6}", 1..5)) {
            let shared: Vec<Arc<str>> = values.iter().map(|v| v.as_str().into()).collect();
            let bytes = encode_list(&shared).unwrap();
            proptest::prop_assert!(HeaderValue::from_bytes(&bytes).is_ok());
            let text = std::str::from_utf8(&bytes).unwrap();
            let decoded: Vec<String> = text.split(',').map(decode).collect();
            proptest::prop_assert_eq!(decoded, values);
        }
    }

    fn decode(text: &str) -> String {
        let (mut out, mut rest) = (Vec::new(), text.as_bytes());
        while let Some((byte, tail)) = rest.split_first() {
            if *byte == b'%' {
                out.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
                rest = &tail[2..];
            } else {
                out.push(*byte);
                rest = tail;
            }
        }
        String::from_utf8(out).unwrap()
    }
}
