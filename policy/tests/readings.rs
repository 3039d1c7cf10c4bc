//! Every input the fuzzer of paths keeps, and random ones, through the function it fuzzes, on the stable compiler.
#![allow(clippy::expect_used, unreachable_pub, missing_docs, reason = "a test that cannot go on stops")]

use proptest::prelude::*;

#[path = "../../tests/fuzz/src/readings.rs"]
mod fuzzed;

#[test]
fn the_kept_inputs_of_paths() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/readings");
    let kept: Vec<_> =
        std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    assert!(kept.len() > 20, "the corpus holds {} inputs", kept.len());
    for path in kept {
        println!("{}", path.display());
        fuzzed::input(&std::fs::read(path).expect("a file"));
    }
}

/// A set of rules whose differences odd spellings walk between.
fn rules() -> impl Strategy<Value = Vec<String>> {
    let pattern = "(/(admin|Admin|a|b|x|\\*|my files|ä|\\.portcullis)){0,3}(/|/\\*\\*|/\\*\\*)?";
    let rules = prop::collection::vec((pattern, "[psr][go]?|[psr]"), 0..5);
    (rules, "[psr]").prop_map(|(rules, rest)| {
        let mut lines: Vec<String> =
            rules.into_iter().map(|(path, allows)| format!("{path}={allows}")).collect();
        lines.push("/admin/**=r".into());
        lines.push(format!("/**={rest}"));
        lines
    })
}

fn path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "/",
        "/",
        "/",
        "admin",
        "admin",
        "a",
        "x",
        "b",
        "Admin",
        "ADMIN.",
        "-",
        "%20",
        "%C3%A4",
        "ä",
        "%E9",
        "adm%C4%B1n",
        "adm%C4%B0n",
        "%61",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        ";",
        ";v=1",
        "%3b",
        "%25",
        "%252f",
        "%2561",
        "%253b",
        ".",
        "..",
        "../",
        "%2e",
        "%2E%2e",
        "%c0%af",
        "%3F",
        "%23",
        "%253f",
        "%",
        "%00",
        "%u0061",
        "//",
        "my%20files",
        ".portcullis",
        "host",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// No reading of a path is more closed than the path: whatever an application does to it, in any order.
    #[test]
    fn a_path_is_decided_no_more_openly_than_any_of_its_readings(
        rules in rules(), steps in "[debcmraq]{0,6}", path in path(),
        strip in prop::sample::select(vec!["", "/a", "/admin"]),
    ) {
        let mut kept = Vec::new();
        for rule in rules.iter().rev().filter_map(|line| fuzzed::rule(line)) {
            kept.push(rule);
            if !fuzzed::are_compatible(&kept) {
                kept.pop();
            }
        }
        fuzzed::decided(&kept, &steps, &path);
        fuzzed::decided_as_seen(&kept, &steps, strip, &format!("{strip}{path}"));
    }
}

/// The property says something: most paths that look honest get somewhere.
#[test]
fn honest_paths_are_let_in() {
    let rules: Vec<_> = ["/admin/**=r", "/**=p"].into_iter().filter_map(fuzzed::rule).collect();
    for path in ["/", "/a", "/a%2Fb;c=d", "/a//b/../c", "/%61%20%C3%A4", "/admin/x", "/admin%2F..%2Fx"] {
        assert!(fuzzed::decided(&rules, "drd", path), "{path}");
    }
    for path in ["/a", "/a/", "/a/b%20c", "/a/%2Fb;c=d", "/a/admin/x"] {
        assert!(fuzzed::decided_as_seen(&rules, "drd", "/a", path), "{path}");
    }
}
