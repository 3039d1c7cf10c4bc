//! Every input the fuzzers keep, through the function they fuzz, on the stable compiler.

#[path = "../../../tests/fuzz/src/oidc.rs"]
#[allow(unreachable_pub, reason = "the fuzzers reach it from a crate of their own")]
mod fuzzed;

fn replay<T>(target: &str, check: impl Fn(&[u8]) -> T) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // Shown by the test runner where the check fails.
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 10, "the corpus of {target} holds {replayed} inputs");
}

#[test]
fn callbacks() {
    replay("oidc_callback", fuzzed::callback);
}

#[test]
fn documents() {
    replay("oidc_document", fuzzed::document);
}

#[test]
fn id_tokens() {
    replay("oidc_id_token", fuzzed::id_token);
}

#[test]
fn claims() {
    replay("oidc_claims", fuzzed::claims);
    // The fuzzer is on the right side of the signature: honest claims come in.
    assert!(fuzzed::claims(include_bytes!("../../../tests/fuzz/corpus/oidc_claims/full")));
}
