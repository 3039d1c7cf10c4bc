//! Every input the fuzzers keep, through the function they fuzz, on the stable compiler.

use std::path::Path;

#[path = "../../../tests/fuzz/src/saml.rs"]
#[allow(unreachable_pub, reason = "the fuzzers reach it from a crate of their own")]
mod fuzzed;

#[path = "../../../tests/fuzz/src/saml_messages.rs"]
#[allow(unreachable_pub, reason = "the fuzzers reach it from a crate of their own")]
mod messages;

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
fn responses() {
    replay("fuzz/corpus/saml_response", fuzzed::response);
    replay("vectors/saml/xml", fuzzed::response);
}

#[test]
fn fields() {
    replay("fuzz/corpus/saml_field", fuzzed::field);
}

#[test]
fn profiles() {
    let came_in = replay("fuzz/corpus/saml_profile", fuzzed::profile);
    // The fuzzer is on the right side of the signature: honest content comes in.
    assert!(came_in.contains(&true) && came_in.contains(&false));
}

#[test]
fn metadata() {
    let read = replay("fuzz/corpus/saml_metadata", messages::metadata);
    assert!(read.contains(&true) && read.contains(&false));
    replay("vectors/saml/metadata", messages::metadata);
}

#[test]
fn queries() {
    replay("fuzz/corpus/saml_query", messages::query);
}

#[test]
fn logouts() {
    let counted = replay("fuzz/corpus/saml_logout", messages::logout);
    // The fuzzer is on the right side of the signature: honest messages count.
    assert!(counted.contains(&true) && counted.contains(&false));
}
