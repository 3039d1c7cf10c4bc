//! The runbooks: what they tell an operator to write loads, and every address on them is one that `urls` prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::rig::program;

const PAGES: [&str; 15] = [
    "okta",
    "entra",
    "google",
    "onelogin",
    "pingfederate",
    "pingone",
    "jumpcloud",
    "duo",
    "adfs",
    "rippling",
    "cyberark",
    "keycloak",
    "auth0",
    "canaille",
    "authentik",
];

/// The parts of every page, in their order.
const PARTS: [&str; 8] = [
    "At a glance",
    "Sign in by OpenID Connect",
    "Sign in by SAML",
    "The directory",
    "Which claim links",
    "What ",
    "Changing the token and the secrets",
    "When it does not work",
];

/// What stands beside `idps` in every file.
const REST: &str = "public_url: https://wiki.example.com\nupstream: http://127.0.0.1:3000\nscim:\n  \
                    public_url: https://scim.wiki.example.com\n";

fn page(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/idp");
    fs::read_to_string(folder.join(format!("{name}.md"))).unwrap()
}

/// The blocks of YAML that are a whole entry.
fn entries(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.starts_with("idps:")).collect()
}

/// The addresses of ours in a text.
fn addresses(text: &str) -> BTreeSet<&str> {
    let begins = ["https://wiki.example.com/.portcullis/", "https://scim.wiki.example.com/"];
    let ends = |c: char| c.is_whitespace() || "`\"')>,;".contains(c);
    let found = begins.iter().flat_map(|begin| text.match_indices(begin));
    found.map(|(at, _)| text[at..].split(ends).next().unwrap().trim_end_matches('.')).collect()
}

/// What the program says of a configuration.
fn said(yaml: &str, words: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.yaml");
    fs::write(&file, format!("{yaml}state: {}\n", folder.path().join("state").display())).unwrap();
    let output = program::command(folder.path(), words);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{yaml}\n{text}");
    text
}

#[test]
fn every_page_has_the_same_parts_and_its_files_load() {
    for name in PAGES {
        let page = page(name);
        let parts: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts.len(), PARTS.len(), "{name}: {parts:?}");
        for (part, wanted) in parts.iter().zip(PARTS) {
            assert!(part.starts_with(wanted), "{name}: {part}");
        }
        let entries = entries(&page);
        let wanted = if ["rippling", "canaille"].contains(&name) { 1 } else { 2 };
        assert_eq!(entries.len(), wanted, "{name}");
        for entry in entries {
            assert!(entry.starts_with(&format!("idps:\n  {name}:\n")), "{name}: {entry}");
            said(&format!("{REST}{entry}"), &["check", "--text-only"]);
        }
    }
}

#[test]
fn every_address_on_a_page_is_one_that_is_printed() {
    let mut seen = 0;
    for name in PAGES {
        let page = page(name);
        let printed: String =
            entries(&page).iter().map(|entry| said(&format!("{REST}{entry}"), &["urls"])).collect();
        let printed = addresses(&printed);
        for address in addresses(&page) {
            assert!(printed.contains(address), "{name}: {address} is none of {printed:#?}");
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn the_index_leads_to_every_page() {
    let index = page("README");
    for name in PAGES {
        assert_eq!(index.matches(&format!("]({name}.md) |")).count(), 1, "{name}");
    }
    let whole = index.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    said(whole, &["check", "--text-only"]);
}
