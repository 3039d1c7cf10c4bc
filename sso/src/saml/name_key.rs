//! The one text of a NameID, which a session is found again by at a logout.

use super::profile::NameId;

const UNSPECIFIED: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";

impl NameId {
    /// Gives the text that is the same for every spelling of this name and for no other name: a JSON array of format,
    /// NameQualifier, SPNameQualifier and value.
    ///
    /// A qualifier that is absent or empty is the identity provider's or our own entity ID, which is what its absence
    /// means for a persistent and a transient name (SAML Core §8.3.7, §8.3.8), and the only meaning it can have for
    /// another: identity providers write both spellings, one at the login and the other at the logout. A format that is
    /// absent is `unspecified` (§2.2.2).
    pub fn canonical_text(&self, idp_entity_id: &str, sp_entity_id: &str) -> String {
        let said = |said: &Option<String>, otherwise: &str| {
            said.as_deref().filter(|text| !text.is_empty()).unwrap_or(otherwise).to_owned()
        };
        let parts = [
            said(&self.format, UNSPECIFIED),
            said(&self.name_qualifier, idp_entity_id),
            said(&self.sp_name_qualifier, sp_entity_id),
            self.value.clone(),
        ];
        serde_json::Value::from(parts.to_vec()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDP: &str = "https://idp.test";
    const SP: &str = "https://sp.test";
    const PERSISTENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";

    fn name(value: &str, format: Option<&str>, qualifiers: [Option<&str>; 2]) -> NameId {
        let [name_qualifier, sp_name_qualifier] = qualifiers.map(|is| is.map(str::to_owned));
        NameId {
            value: value.to_owned(),
            format: format.map(str::to_owned),
            name_qualifier,
            sp_name_qualifier,
        }
    }

    #[test]
    fn both_spellings_of_a_name_are_one_key() {
        let text = |name: NameId| name.canonical_text(IDP, SP);
        let bare = text(name("7f", Some(PERSISTENT), [None, None]));
        assert_eq!(bare, text(name("7f", Some(PERSISTENT), [Some(IDP), Some(SP)])));
        assert_eq!(bare, text(name("7f", Some(PERSISTENT), [Some(""), Some(SP)])));
        assert_eq!(
            text(name("7f", None, [None, None])),
            text(name("7f", Some(UNSPECIFIED), [None, Some(SP)]))
        );
        for other in [
            name("7F", Some(PERSISTENT), [None, None]),
            name(" 7f", Some(PERSISTENT), [None, None]),
            name("7f", None, [None, None]),
            name("7f", Some(PERSISTENT), [Some("https://other.test"), None]),
            name("7f", Some(PERSISTENT), [None, Some("https://other.test")]),
            name("7f", Some(PERSISTENT), [Some(SP), Some(IDP)]),
        ] {
            assert_ne!(bare, text(other));
        }
    }

    proptest::proptest! {
        /// No two names share a text: it can be read back.
        #[test]
        fn the_text_holds_every_part(value in "\\PC{1,12}", format in "\\PC{1,12}", of in "\\PC{1,12}", to in "\\PC{1,12}") {
            let text = name(&value, Some(&format), [Some(&of), Some(&to)]).canonical_text(IDP, SP);
            let read: Vec<String> = serde_json::from_str(&text).unwrap();
            proptest::prop_assert_eq!(read, [format, of, to, value]);
        }
    }
}
