//! Every input that the fuzzers of metadata and logout keep, through the function they fuzz, on the stable compiler.

use std::path::Path;

#[path = "../../../tests/fuzz/src/saml_messages.rs"]
#[allow(unreachable_pub, reason = "the fuzzers reach it from a crate of their own")]
mod fuzzed;

fn replay<T>(folder: &str, check: impl Fn(&[u8]) -> T) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(folder);
    let mut outcomes = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // Shown by the test runner where the check fails.
        println!("{}", path.display());
        outcomes.push(check(&std::fs::read(path).unwrap()));
    }
    assert!(outcomes.len() >= 10, "{} holds {} inputs", folder.display(), outcomes.len());
    outcomes
}

#[test]
fn metadata() {
    let read = replay("fuzz/corpus/saml_metadata", fuzzed::metadata);
    assert!(read.contains(&true) && read.contains(&false));
    replay("vectors/saml/metadata", fuzzed::metadata);
}

#[test]
fn queries() {
    replay("fuzz/corpus/saml_query", fuzzed::query);
}

#[test]
fn logouts() {
    let counted = replay("fuzz/corpus/saml_logout", fuzzed::logout);
    // The fuzzer is on the right side of the signature: honest messages count.
    assert!(counted.contains(&true) && counted.contains(&false));
}
