//! The URN of an extension of User: `urn:ietf:params:scim:schemas:extension:acme:2.0:User`.

/// The longest name of an extension or an attribute, in bytes.
pub(crate) const LONGEST_NAME: usize = 64;

const BEFORE_NAME: &str = "urn:ietf:params:scim:schemas:extension:";
const BEHIND_NAME: &str = ":2.0:User";

/// The name within the URN: letters, digits, `-` and `_`, at most 64. None where it is not the URN of an extension.
pub(crate) fn name_in_urn(urn: &str) -> Option<&str> {
    let name = urn.strip_prefix(BEFORE_NAME)?.strip_suffix(BEHIND_NAME)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ((1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)).then_some(name)
}
