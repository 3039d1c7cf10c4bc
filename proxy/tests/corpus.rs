//! Every input the fuzzer keeps, and random ones, through the function it fuzzes, on the stable compiler.
#![allow(clippy::expect_used, unreachable_pub, reason = "a test that cannot go on stops")]

use proptest::prelude::*;

#[path = "../../tests/fuzz/src/wire.rs"]
mod fuzzed;
#[path = "../../tests/fuzz/src/heads.rs"]
mod heads;
#[path = "../../tests/fuzz/src/proxy_header.rs"]
mod proxy_header;

fn replay(corpus: &str, fuzzed: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(corpus);
    let kept: Vec<_> =
        std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    assert!(kept.len() > 10);
    for path in kept {
        println!("{}", path.display());
        fuzzed(&std::fs::read(path).expect("a file"));
    }
}

#[test]
fn the_kept_inputs_of_the_wire() {
    replay("wire", fuzzed::bytes);
}

#[test]
fn the_kept_inputs_of_cookies() {
    replay("cookies", heads::cookies);
}

#[test]
fn the_kept_inputs_of_forwarding_fields() {
    replay("forwarded", heads::forwarded);
}

#[test]
fn the_kept_inputs_of_the_proxy_protocol() {
    replay("proxy_header", proxy_header::bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Heads that are nearly right, so that many are admitted.
    #[test]
    fn what_is_admitted_the_library_reads_alike(
        line in "(GET|POST|OPTIONS|get|M-X) (/[!-~]{0,8}|\\*|http://a/x|[ -~]{0,8}) HTTP/1\\.[01]",
        fields in prop::collection::vec("(Host: a|A: [ -~]{0,6}|Content-Length: [0-9]{1,2}|Transfer-Encoding: chunked|[!-~]{1,4}: x|[ -~]{0,6})", 0..5),
        host in prop::bool::weighted(0.8),
        rest in "([0-9a]{0,6}|5\r\nhello\r\n0\r\n\r\n|GET / HTTP/1.1\r\nHost: a\r\n\r\n|[\r\n -~]{0,12})",
        end in prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]),
    ) {
        let host = if host { "Host: a\r\n" } else { "" };
        let fields: String = fields.iter().map(|field| format!("{field}{end}")).collect();
        fuzzed::bytes(format!("{line}\r\n{host}{fields}\r\n{rest}").as_bytes());
    }

    /// Jars of ours and of others, in as many fields as they come in.
    #[test]
    fn our_cookie_goes_up_in_no_jar(
        jar in "((__Host-portcullis-|__host-PCFLOW-|a|b=|[ -~]{0,3})[=;\n x\"]{0,3}){0,8}",
    ) {
        heads::cookies(jar.as_bytes());
    }

    /// Fields that speak of a person or of the way, bent, beside others.
    #[test]
    fn whatever_is_said_of_a_person_is_ours(
        who in "[tp]{0,2}",
        fields in "(\n(X-Forwarded-(User|Email|For|Host|Port)|Remote-User|X-Auth-A|Forwarded|Accept|Cookie|[a-z_.-]{1,9}): (10\\.0\\.0\\.1|203\\.0\\.113\\.9|[ -~]{0,4})(, ?(10\\.1\\.1\\.1|::1|x))?){0,6}",
        bend in prop::sample::select(vec!["-", "_", ".", "~"]),
    ) {
        heads::forwarded(format!("{who}{fields}").as_bytes());
        heads::forwarded(format!("{who}{}", fields.replace("X-Forwarded-", &format!("X{bend}Forwarded{bend}"))).as_bytes());
    }

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..80)) {
        fuzzed::bytes(&data);
        heads::cookies(&data);
        heads::forwarded(&data);
    }
}
