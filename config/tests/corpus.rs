//! Every input the fuzzer keeps, and the examples, through the function it fuzzes, on the stable compiler.
#![allow(clippy::expect_used)]

#[allow(unreachable_pub)]
#[path = "../../tests/fuzz/src/config.rs"]
mod fuzzed;

#[test]
fn files() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut replayed = 0;
    let mut folders = vec![root.join("tests/fuzz/corpus/config"), root.join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a corpus") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Shown by the test runner where the check fails.
            println!("{}", path.display());
            fuzzed::file(&std::fs::read(path).expect("a file"));
            replayed += 1;
        }
    }
    assert!(replayed >= 20, "the corpus holds {replayed} inputs");
}

proptest::proptest! {
    /// Lines of configurations in any order, each cut somewhere: what people's files look like half-way.
    #[test]
    fn shuffled_lines(lines in proptest::collection::vec((0_usize..LINES.len(), 0_usize..40, 0_usize..3), 0..30)) {
        let mut text = String::new();
        for (nth, cut, indent) in lines {
            let line: String = LINES[nth].chars().take(if cut > 25 { 99 } else { cut }).collect();
            text += &format!("{}{line}\n", "  ".repeat(indent));
        }
        fuzzed::file(text.as_bytes());
    }
}

const LINES: &[&str] = &[
    "public_url: https://wiki.example.com/x",
    "upstream: http://127.0.0.1:3000",
    "upstream:",
    "url: http://[::1]:1",
    "idps:",
    "okta: {oidc: {issuer: https://a.test, client_id: 1, client_secret: '${run:x}'}}",
    "oidc:",
    "issuer: https://example.okta.com",
    "scim: { public_url: https://s.test, token: ['${env:A}', '${env:B}'] }",
    "provisioning: none",
    "routes:",
    "- { path: /a/**, allow: [x], methods: [GET] }",
    "- path: /a/*",
    "allow: public",
    "listen: { proxy: 0.0.0.0:1, scim: '[::]:1', health: off }",
    "session: &s { idle: 1s }",
    "limits: *s",
    "<<: *s",
    "trusted_proxies: [::1, 10.0.0.0/8]",
    "bindings: /dev/null",
    "webhooks: []",
    "log: !!str { level: ~ }",
    "state: |",
    "\u{85}prefix: \"/\\u0000\"",
];
