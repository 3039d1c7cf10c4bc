//! Every input the fuzzers keep, through the function they fuzz, on the stable compiler.

use std::path::Path;

#[path = "../../../tests/fuzz/src/saml.rs"]
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
