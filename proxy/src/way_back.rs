//! The way back after a login: the one rule that says which addresses a person may be sent to.
//!
//! Data plane and pages ask it alike, so that what one writes down the other takes. The rule protected: nobody is led
//! to another origin, or to one of our own pages.

/// As long as the longest target that is forwarded (414 beyond it).
pub(crate) const LONGEST: usize = 16 * 1024;

/// The address, if a person may be sent there after a login: a path of the app with its query.
///
/// `base` is the path of the app without a final slash, `ours` that of our own pages below it. At most 16 KiB of
/// visible ASCII; no `\`, which browsers take for `/`, and no `//` at the start, which would be another host.
pub fn way_back<'a>(address: &'a str, base: &str, ours: &str) -> Option<&'a str> {
    let is_plain = address.len() <= LONGEST
        && address.starts_with('/')
        && !address.starts_with("//")
        && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (is_plain && is_below(address, base) && !is_below(address, ours)).then_some(address)
}

/// Tells whether an address is a path or below it, by whole segments.
fn is_below(address: &str, path: &str) -> bool {
    address.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_way_back_is_a_path_of_the_app() {
        let long = format!("/p?{}", "x".repeat(LONGEST - 3));
        for (address, base, fine) in [
            ("/", "", true),
            ("/a/b?c=d&e=%2F//x#f", "", true),
            (long.as_str(), "", true),
            (&format!("{long}x"), "", false),
            ("", "", false),
            ("a", "", false),
            ("//evil.test/", "", false),
            ("/\\evil.test", "", false),
            ("/\t/evil.test", "", false),
            ("/a b", "", false),
            ("/\u{fc}", "", false),
            ("https://evil.test/", "", false),
            ("/.portcullis/logout", "", false),
            ("/.portcullis", "", false),
            ("/.portcullis?x", "", false),
            ("/.portcullisx", "", true),
            ("/wiki", "/wiki", true),
            ("/wiki?a", "/wiki", true),
            ("/wiki/x", "/wiki", true),
            ("/wikis/x", "/wiki", false),
            ("/other", "/wiki", false),
            ("/wiki/.portcullis/login", "/wiki", false),
        ] {
            let found = way_back(address, base, &format!("{base}/.portcullis"));
            assert_eq!(found, fine.then_some(address), "{address}");
        }
    }

    proptest! {
        /// Whatever is let through leads to the app's own origin by a browser's reading.
        #[test]
        fn no_way_back_leads_elsewhere(address in "[/\\\\a-c.:@?#%\t\r\n ]{0,12}|\\PC{0,12}") {
            if let Some(way) = way_back(&address, "", "/.portcullis") {
                let here = url::Url::parse("https://app.test/").unwrap();
                prop_assert_eq!(here.join(way).unwrap().origin(), here.origin());
            }
        }
    }
}
