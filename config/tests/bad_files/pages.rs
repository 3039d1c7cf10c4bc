//! Words for our own pages that nobody could read or follow.

use std::path::Path;

use portcullis_config::{Support, load_text};

use crate::{DIRECTORY, SMALLEST, environment, said_of, table};

#[test]
fn words_that_nobody_could_read_or_follow() {
    let long = "x".repeat(61);
    let longer = "y".repeat(201);
    for (file, wanted) in [
        (format!("app: {{ name: {long} }}\n"), "Write 1 to 60 characters that can be seen"),
        ("app: { name: \"a\\u202eb\" }\n".to_owned(), "\"a\\u{202e}b\" is no name for a page"),
        (format!("support: {longer}\n"), "Write 1 to 200 characters that can be seen"),
        ("support: \"a\\nb\"\n".to_owned(), "holds a line break or a control character"),
        ("support: 'https://'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'https://nora:secret@help.test'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'https://help.test or 4711'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'mailto:help'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'MAILTO:a@b@c'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'https:help.test'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'mailto:a@b.test?cc=c@d.test'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'mailto:hilfe@bücher.test'\n".to_owned(), "is no address that a page could lead to"),
        ("support: 'tel:call me'\n".to_owned(), "is no address that a page could lead to"),
        ("app: { name: \"\\u2800\" }\n".to_owned(), "is no name for a page"),
        ("app: { session_cookies: [sid] }\n".to_owned(), "not in this version"),
    ] {
        let said = said_of(&format!("{DIRECTORY}{file}"));
        assert!(said.len() == 1 && said[0].contains(wanted), "{file}: {said:?}");
    }
    table(SMALLEST, &[("app: Wiki\n", "10: app: a plain value where a block of keys belongs. Known: name.")]);
}

#[test]
fn help_is_a_link_or_a_text() {
    let support = |text: &str| {
        let text = format!("{DIRECTORY}app: {{ name: Team Wiki – Köln }}\nsupport: '{text}'\n");
        let file = load_text(Path::new("portcullis.yaml"), text.as_bytes(), &environment()).unwrap().file;
        assert_eq!(file.app_name, "Team Wiki – Köln");
        file.support.unwrap()
    };
    let link = |href: &str, text: &str| Support::Link { href: href.into(), text: text.into() };
    for (text, wanted) in [
        ("https://help.test", link("https://help.test/", "help.test")),
        ("HTTPS://help.test:8443/it?x=1#y", link("https://help.test:8443/it?x=1#y", "help.test:8443/it")),
        ("mailto:help@corp.test?subject=Wiki", link("mailto:help@corp.test?subject=Wiki", "help@corp.test")),
        ("tel:+49-30-1234", link("tel:+49-30-1234", "+49-30-1234")),
        ("Call 4711", Support::Text("Call 4711".into())),
        ("javascript:alert(1)", Support::Text("javascript:alert(1)".into())),
        ("help.test", Support::Text("help.test".into())),
    ] {
        assert_eq!(support(text), wanted);
    }
    let none = load_text(Path::new("portcullis.yaml"), DIRECTORY.as_bytes(), &environment()).unwrap().file;
    assert_eq!((none.app_name.as_str(), none.support), ("wiki.example.com", None));
}
