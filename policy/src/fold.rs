//! Folding: when two names are the same name. One module, two functions, so that no two places disagree.
//!
//! [`unique_key`] is coarse and guards uniqueness: names a person could confuse collide. [`same_key`] is fine and
//! finds: login, filters and bindings must never match a look-alike.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

/// The key under which names must be unique: NFKC and full case folding. Two users whose `userName` have the same
/// key conflict (409), even where [`same_key`] tells them apart.
pub fn unique_key(name: &str) -> String {
    let compatible: String = name.nfkc().collect();
    UniCase::unicode(compatible).to_folded_case().nfkc().collect()
}

/// The key by which names are found: NFC, ASCII letters folded, all else byte for byte.
///
/// NFC itself turns three characters into ASCII ones (the Kelvin sign into K, the Greek question mark into `;`, a
/// Greek accent into a backtick). They stay as they are: whoever registers such a look-alike at an IdP is another.
pub fn same_key(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut key = String::with_capacity(name.len());
    for part in name.split_inclusive(BECOMES_ASCII) {
        let plain = part.trim_end_matches(BECOMES_ASCII);
        key.extend(plain.nfc());
        key.push_str(&part[plain.len()..]);
    }
    key.make_ascii_lowercase();
    key
}

/// Characters outside ASCII whose canonical form is ASCII.
const BECOMES_ASCII: [char; 3] = ['\u{37e}', '\u{1fef}', '\u{212a}'];

/// The domain of an e-mail address in IDNA A-form, lower case; `None` unless the address has exactly one `@`,
/// something before it and a valid domain behind it. A trailing dot is no part of a mail domain (RFC 5321 §2.3.5).
pub fn email_domain(address: &str) -> Option<String> {
    let (local, domain) = address.split_once('@')?;
    if local.is_empty() || domain.contains('@') {
        return None;
    }
    domain_key(domain)
}

/// A domain as compared: IDNA A-form, lower case. `None` for one that is empty, malformed or ends in a dot.
pub fn domain_key(domain: &str) -> Option<String> {
    if domain.is_empty() || domain.ends_with('.') || domain.starts_with('.') {
        return None;
    }
    idna::domain_to_ascii_strict(domain).ok().filter(|ascii| !ascii.is_empty() && !ascii.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs that look or sound alike: (left, right, collide under `unique_key`, match under `same_key`).
    const PAIRS: &[(&str, &str, bool, bool)] = &[
        ("alice", "ALICE", true, true),
        ("kim", "\u{212a}im", true, false),       // Kelvin sign
        ("ilker", "\u{131}lker", false, false),   // dotless i is another letter
        ("alice", "\u{ff41}lice", true, false),   // full width a
        ("jos\u{e9}", "jose\u{301}", true, true), // composed and combining
        ("JOS\u{c9}", "jos\u{e9}", true, false),  // case beyond ASCII is folded for uniqueness only
        ("alice", "\u{430}lice", false, false),   // Cyrillic a
        ("stra\u{df}e", "strasse", true, false),  // sharp s
        ("fi", "\u{fb01}", true, false),          // ligature
        ("alice", "alice\u{200d}", false, false), // joiner
        ("alice@x.test", "alice@x.test.", false, false),
    ];

    #[test]
    fn look_alikes_collide_but_do_not_match() {
        for (left, right, collide, matching) in PAIRS {
            assert_eq!(unique_key(left) == unique_key(right), *collide, "unique: {left:?} and {right:?}");
            assert_eq!(same_key(left) == same_key(right), *matching, "same: {left:?} and {right:?}");
        }
    }

    #[test]
    fn an_address_has_one_at_and_a_whole_domain() {
        assert_eq!(email_domain("Alice@Example.COM").as_deref(), Some("example.com"));
        assert_eq!(email_domain("a@b\u{fc}cher.test").as_deref(), Some("xn--bcher-kva.test"));
        for wrong in ["", "@", "a@", "@b.test", "a@b@c.test", "a@b.test.", "a@.test", "a.b.test", "a@b test"]
        {
            assert_eq!(email_domain(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn no_other_character_becomes_ascii() {
        let found: Vec<char> = ('\u{80}'..=char::MAX).filter(|c| c.nfc().all(|c| c.is_ascii())).collect();
        assert_eq!(found, BECOMES_ASCII);
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(name in "\\PC{0,24}") {
            proptest::prop_assert_eq!(same_key(&same_key(&name)), same_key(&name));
            proptest::prop_assert_eq!(unique_key(&unique_key(&name)), unique_key(&name));
        }

        #[test]
        fn names_that_match_also_collide(left in "\\PC{0,8}", right in "\\PC{0,8}") {
            if same_key(&left) == same_key(&right) {
                proptest::prop_assert_eq!(unique_key(&left), unique_key(&right));
            }
        }
    }
}
