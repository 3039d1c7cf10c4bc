//! Bad files and what is said of them, word for word.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod headers;
mod pages;
mod people;
mod providers;
mod shapes;
mod together;

use std::path::Path;

use portcullis_config::{Environment, load_text};

pub(crate) const SMALLEST: &str = "\
public_url: https://wiki.example.com
upstream: http://127.0.0.1:3000
provisioning: none
idps:
  okta:
    oidc:
      issuer: https://example.okta.com
      client_id: 0oa1b2c3
      client_secret: ${env:OIDC}
";

pub(crate) const DIRECTORY: &str = "\
public_url: https://wiki.example.com
upstream: http://127.0.0.1:3000
idps:
  okta:
    oidc:
      issuer: https://example.okta.com
      client_id: 0oa1b2c3
      client_secret: ${env:OIDC}
scim:
  public_url: https://scim.example.com
  token: ${env:SCIM}
";

pub(crate) fn environment() -> Environment {
    Environment::with_variables([
        ("HOME", "/home/nora"),
        ("OIDC", "hunter2-oidc"),
        ("SCIM", "hunter2-scim-0123456789abcdef"),
        ("SCIM2", "hunter2-next-0123456789abcdef"),
        ("SHORT", "hunter2"),
        ("BLANK", "hunter2 with a blank in it"),
    ])
}

/// What is said of a text, without the closing line.
pub(crate) fn said_of(text: &str) -> Vec<String> {
    said_in(Path::new("portcullis.yaml"), text)
}

pub(crate) fn said_in(path: &Path, text: &str) -> Vec<String> {
    let problems = match load_text(path, text.as_bytes(), &environment()) {
        Ok(_) => return Vec::new(),
        Err(problems) => problems.to_string(),
    };
    assert!(!problems.contains("hunter2"), "a secret is in {problems}");
    let mut lines: Vec<String> = problems.lines().map(str::to_owned).collect();
    let count = lines.pop().unwrap();
    let noun = if lines.len() == 1 { "problem" } else { "problems" };
    assert_eq!(count, format!("{} {noun}.", lines.len()), "{problems}");
    let name = path.display().to_string();
    lines.into_iter().map(|line| line.strip_prefix(&format!("{name}:")).unwrap_or(&line).to_owned()).collect()
}

/// Texts that follow one of the two good files, and what is said of the whole.
#[track_caller]
pub(crate) fn table(base: &str, cases: &[(&str, &str)]) {
    assert_eq!(said_of(base), Vec::<String>::new());
    let mut wrong = Vec::new();
    for (added, expected) in cases {
        let said = said_of(&format!("{base}{added}")).join("\n");
        if said != *expected {
            wrong.push(format!("{added}\n  said     {said}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
