//! Every input the fuzzer keeps, through the function it fuzzes, on the stable compiler.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../../tests/fuzz/src/roster.rs"]
#[allow(unreachable_pub)] // the fuzzers reach it from a crate of their own
mod fuzzed;

use proptest::prelude::*;

#[test]
fn files() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/roster");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        fuzzed::file(&std::fs::read(path).expect("a file"));
        replayed += 1;
    }
    assert!(replayed >= 10, "the corpus holds {replayed} inputs");
}

proptest! {
    #[test]
    fn texts_that_are_nearly_files(text in "(userName|USERNAME|user)[,;](email|groups|active|ignored)\n([a-cA-C\"|@,;é \n\r]{0,4}[,;]?){0,12}") {
        fuzzed::file(text.as_bytes());
    }
}
