//! The commit and its time, which `portcullis --version` tells.
//!
//! Only a release asks git, since each commit would else compile the program and its tests again: a development build
//! says `unknown`. `PORTCULLIS_COMMIT` and `SOURCE_DATE_EPOCH` come before git, for whoever builds without a repository,
//! or the same bytes twice. Nothing here fails a build.

use std::path::Path;
use std::process::Command;

/// The sources of what is shipped. A change in one makes the program anew anyway, and then asks whether all is committed.
const SOURCES: [&str; 13] = [
    "Cargo.lock",
    "Cargo.toml",
    "build.rs",
    "config",
    "keys",
    "policy",
    "proxy",
    "roster",
    "scim",
    "session",
    "src",
    "sso",
    "store",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PORTCULLIS_COMMIT");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let of_git = if is_release && is_own_repository() { ask_commit() } else { None };
    let (git_commit, git_seconds) = of_git.unzip();
    let commit = set_variable("PORTCULLIS_COMMIT").or(git_commit).unwrap_or_default();
    let seconds = set_variable("SOURCE_DATE_EPOCH").or(git_seconds).unwrap_or_default();
    println!("cargo::rustc-env=PORTCULLIS_BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=PORTCULLIS_BUILD_SECONDS={seconds}");
}

fn set_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says whether git's repository here is ours: sources that were unpacked within another one are not of its commit.
fn is_own_repository() -> bool {
    let own = std::env::var("CARGO_MANIFEST_DIR").ok();
    let top = ask_git(&["rev-parse", "--show-toplevel"]);
    own.zip(top).is_some_and(|(own, top)| {
        matches!((Path::new(&own).canonicalize(), Path::new(&top).canonicalize()), (Ok(a), Ok(b)) if a == b)
    })
}

/// The commit, with `+changes` where the sources are not all committed, and when that was, in seconds since 1970.
fn ask_commit() -> Option<(String, String)> {
    // The log of HEAD moves with every commit, checkout and reset, wherever the branch is kept; HEAD is there without a log.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) =
            ask_git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists())
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    SOURCES.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    let mut commit = ask_git(&["rev-parse", "--short=12", "HEAD"])?;
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(SOURCES);
    if !ask_git(&status)?.is_empty() {
        commit.push_str("+changes");
    }
    let seconds = ask_git(&["show", "--no-patch", "--format=%ct", "HEAD"])?;
    Some((commit, seconds))
}

fn ask_git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
