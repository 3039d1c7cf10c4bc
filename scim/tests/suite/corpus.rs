//! Every input the fuzzers keep, through the function they fuzz, on the stable compiler.

#[path = "../../../tests/fuzz/src/scim.rs"]
#[allow(unreachable_pub)] // the fuzzers reach it from a crate of their own
mod fuzzed;
#[path = "../../../tests/fuzz/src/scim_bulk.rs"]
#[allow(unreachable_pub)]
mod fuzzed_bulk;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        // Shown by the test runner where the check fails.
        println!("{}", path.display());
        check(&std::fs::read(path).expect("a file"));
        replayed += 1;
    }
    assert!(replayed >= 10, "the corpus of {target} holds {replayed} inputs");
}

#[test]
fn filters() {
    replay("scim_filter", fuzzed::filter);
}

#[test]
fn paths_of_patches() {
    replay("scim_patch_path", fuzzed::patch_path);
}

#[test]
fn requests_of_version_one() {
    replay("scim_version_one", fuzzed::version_one);
}

#[test]
fn bodies() {
    replay("scim_body", fuzzed::body);
}

#[test]
fn bulks() {
    replay("scim_bulk", fuzzed_bulk::bulk);
}

#[test]
fn searches() {
    replay("scim_search", fuzzed_bulk::search);
}
