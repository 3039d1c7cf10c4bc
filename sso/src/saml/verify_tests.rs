//! Documents that are signed in every way that is taken, and in some that are not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use proptest::prelude::*;

use super::canonical::canonicalize_element;
use super::forge::{Forger, OTHER_RSA, P256, PLACE, RSA, Wanted};
use super::idp_key::IdpKey;
use super::verify::{SignedElement, Trust, verify_document};
use super::xml::{XmlBounds, XmlElement, namespace};
use crate::{Class, LoginRefusal};

fn verify(text: &str, keys: &[IdpKey], allow_sha1: bool) -> Result<SignedElement, LoginRefusal> {
    let root = XmlElement::read_document(text, &XmlBounds::MESSAGE).unwrap();
    let outcome =
        |ask_engine_always| verify_document(text, &[&root], &Trust { keys, allow_sha1, ask_engine_always });
    // The engine has the same opinion of what is refused.
    let always = outcome(true).err();
    let outcome = outcome(false);
    assert_eq!(always, outcome.as_ref().err().cloned());
    outcome
}

fn class(text: &str, keys: &[IdpKey]) -> Option<Class> {
    verify(text, keys, false).err().map(|refusal| refusal.class)
}

fn document() -> String {
    format!("<a:b xmlns:a=\"urn:1\" ID=\"c\">one{PLACE}<d/></a:b>")
}

#[test]
fn each_method_of_the_list_verifies_and_sha_1_where_it_is_allowed() {
    let more = "http://www.w3.org/2001/04/xmldsig-more#";
    let p384 = Forger::with_curve(Nid::SECP384R1);
    let p521 = Forger::with_curve(Nid::SECP521R1);
    for (forger, method, hash, digest) in [
        (&*RSA, "rsa-sha256", MessageDigest::sha256(), "http://www.w3.org/2001/04/xmlenc#sha256"),
        (&*RSA, "rsa-sha384", MessageDigest::sha384(), "http://www.w3.org/2001/04/xmldsig-more#sha384"),
        (&*RSA, "rsa-sha512", MessageDigest::sha512(), "http://www.w3.org/2001/04/xmlenc#sha512"),
        (&*P256, "ecdsa-sha256", MessageDigest::sha256(), "http://www.w3.org/2001/04/xmlenc#sha256"),
        (&*P256, "ecdsa-sha384", MessageDigest::sha384(), "http://www.w3.org/2001/04/xmldsig-more#sha384"),
        (&p384, "ecdsa-sha256", MessageDigest::sha256(), "http://www.w3.org/2001/04/xmlenc#sha256"),
        (&p384, "ecdsa-sha384", MessageDigest::sha384(), "http://www.w3.org/2001/04/xmldsig-more#sha384"),
        (&p521, "ecdsa-sha512", MessageDigest::sha512(), "http://www.w3.org/2001/04/xmlenc#sha512"),
    ] {
        let wanted =
            Wanted { method: &format!("{more}{method}"), digest_method: digest, hash, ..RSA.ordinary() };
        let text = forger.sign(&document(), "c", &wanted);
        let signed = verify(&text, &[OTHER_RSA.idp_key(), forger.idp_key()], false).expect(method);
        assert_eq!(signed.root.attribute("ID"), Some("c"));
        assert_eq!(signed.root.elements().count(), 1, "the signature is none of what is signed");
        assert_eq!(
            class(&text.replacen("one", "two", 1), &[forger.idp_key()]),
            Some(Class::SamlSignatureInvalid)
        );
    }
    let wanted = Wanted {
        method: "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        digest_method: "http://www.w3.org/2000/09/xmldsig#sha1",
        hash: MessageDigest::sha1(),
        ..RSA.ordinary()
    };
    let text = RSA.sign(&document(), "c", &wanted);
    assert_eq!(class(&text, &[RSA.idp_key()]), Some(Class::SamlSignaturePolicy));
    assert!(verify(&text, &[RSA.idp_key()], true).is_ok());
}

#[test]
fn every_signature_of_a_document_counts() {
    // samael takes two signatures of a Response alone.
    let root = format!("<Response xmlns='{}' ID='c'>", namespace::PROTOCOL);
    let text = format!("{root}[outer]<b ID='d'>{PLACE}one</b></Response>");
    let verify_both = |inner: &Forger, change: &str| {
        let text = inner.sign(&text.replace("[outer]", ""), "d", &inner.ordinary());
        let text = text.replacen("one", change, 1).replacen(&root, &format!("{root}{PLACE}"), 1);
        let text = RSA.sign(&text, "c", &RSA.ordinary());
        let root = XmlElement::read_document(&text, &XmlBounds::MESSAGE).unwrap();
        let keys = [RSA.idp_key(), P256.idp_key()];
        let trust = Trust { keys: &keys, allow_sha1: false, ask_engine_always: false };
        let inner = root.elements().find(|element| element.local == "b").unwrap();
        verify_document(&text, &[&root, inner], &trust).map_err(|refusal| refusal.class)
    };
    assert_eq!(verify_both(&RSA, "one").unwrap().root.attribute("ID"), Some("c"));
    assert_eq!(verify_both(&RSA, "two").err(), Some(Class::SamlSignatureInvalid));
    assert_eq!(verify_both(&OTHER_RSA, "one").err(), Some(Class::SamlSignatureInvalid));
    assert_eq!(verify_both(&P256, "one").err(), Some(Class::SamlSignaturePolicy), "two kinds of keys");
}

#[test]
fn a_signature_value_of_zeros_is_none() {
    let text = P256.sign(&document(), "c", &P256.ordinary());
    let value = text.split("<ds:SignatureValue>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let mut bytes = STANDARD.decode(value).unwrap();
    bytes[..32].fill(0);
    let r_is_zero = STANDARD.encode(&bytes);
    bytes.fill(0);
    for zeros in [r_is_zero, STANDARD.encode(&bytes), String::new()] {
        assert_eq!(class(&text.replace(value, &zeros), &[P256.idp_key()]), Some(Class::SamlSignaturePolicy));
    }
}

#[test]
fn a_refusal_names_the_key_that_signed_and_those_that_are_known() {
    let text = RSA.sign(&document(), "c", &RSA.ordinary());
    let refusal = verify(&text, &[OTHER_RSA.idp_key(), P256.idp_key()], false).err().unwrap();
    assert_eq!(refusal.class, Class::SamlSignatureInvalid);
    let known = super::idp_key::show_fingerprint(&OTHER_RSA.idp_key().fingerprint());
    assert!(refusal.expected.contains(&known), "{refusal}");
    assert_eq!(class(&document().replace(PLACE, ""), &[RSA.idp_key()]), Some(Class::SamlUnsigned));
}

#[test]
fn where_the_two_verifications_differ_nobody_comes_in() {
    // Each is rightly signed by the key: the engine reads the one and we the other.
    let ours = RSA.sign(&document(), "c", &RSA.ordinary());
    let theirs = RSA.sign(&document().replacen("one", "two", 1), "c", &RSA.ordinary());
    let root = XmlElement::read_document(&ours, &XmlBounds::MESSAGE).unwrap();
    let keys = [RSA.idp_key()];
    let trust = Trust { keys: &keys, allow_sha1: false, ask_engine_always: false };
    for text in [&*theirs, "<a/>", &document().replace(PLACE, "")] {
        let refusal = verify_document(text, &[&root], &trust).err().unwrap();
        assert_eq!(refusal.class, Class::SamlStructure, "{refusal}");
    }
    // What we refuse and the engine takes is seen where somebody asks.
    let changed = XmlElement::read_document(&ours.replacen("one", "two", 1), &XmlBounds::MESSAGE).unwrap();
    let asked = Trust { ask_engine_always: true, ..trust };
    let class = |trust| verify_document(&ours, &[&changed], trust).err().map(|refusal| refusal.class);
    assert_eq!(
        (class(&trust), class(&asked)),
        (Some(Class::SamlSignatureInvalid), Some(Class::SamlStructure))
    );
}

#[test]
fn what_grows_by_its_canonicalization_is_read_all_the_same() {
    let text = format!("<a ID='c'>{PLACE}{}<d e='{}'/></a>", ">".repeat(370 * 1024), "&#9;".repeat(1000));
    let signed = RSA.sign(&text, "c", &RSA.ordinary());
    assert!(verify(&signed, &[RSA.idp_key()], false).is_ok());
}

#[test]
fn keys_that_are_too_short_are_no_keys() {
    for (forger, is_taken) in [
        (Forger::with_rsa(1024), false),
        (Forger::with_rsa(2047), false),
        (Forger::with_rsa(3072), true),
        (Forger::with_curve(Nid::SECP521R1), true),
        (Forger::with_curve(Nid::SECP256K1), false),
    ] {
        let outcome = IdpKey::from_certificate(forger.certificate());
        assert_eq!(outcome.is_ok(), is_taken, "{outcome:?}");
    }
    assert!(IdpKey::from_certificate(b"0").is_err());
    assert!(IdpKey::from_certificate(&[RSA.certificate(), b"0"].concat()).is_err());
}

/// A step of writing a random document.
#[derive(Clone, Debug)]
enum Step {
    Open { prefix: usize, attributes: Vec<(usize, usize, String)>, declared: Vec<(usize, usize)> },
    Close,
    Text(String),
}

const PREFIXES: [&str; 4] = ["", "p", "q", "r"];
const NAMES: [&str; 3] = ["a", "b", "\u{e9}"];
const NAMESPACES: [&str; 3] = ["urn:1", "urn:2", "http://three.test/?a=b"];

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("&#13;"),
            Just("\r\n"),
            Just("\n"),
            Just("\t"),
            Just("&amp;"),
            Just("&lt;"),
            Just("&gt;"),
            Just(">"),
            Just("&quot;"),
            Just("&#9;"),
            Just("&#xA;"),
            Just("'"),
            Just(" "),
            Just("x"),
            Just("\u{e9}"),
            Just("\u{1f600}"),
            Just("&#x10FFFF;"),
            Just("]]"),
        ],
        0..5,
    )
    .prop_map(|pieces| pieces.concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let open = (
        0..4_usize,
        proptest::collection::vec((0..4_usize, 0..3_usize, text()), 0..4),
        proptest::collection::vec((0..4_usize, 0..4_usize), 0..3),
    )
        .prop_map(|(prefix, attributes, declared)| Step::Open { prefix, attributes, declared });
    proptest::collection::vec(
        prop_oneof![2 => open, 1 => Just(Step::Close), 1 => text().prop_map(Step::Text)],
        0..24,
    )
}

/// Writes a document of random elements; in some an attribute stands twice, by two prefixes.
fn write_document(steps: &[Step]) -> String {
    let mut text = format!("<r ID='c' xmlns:p='urn:1' xmlns:q='urn:2' xmlns:r='urn:3'>{PLACE}");
    let mut open = Vec::new();
    for step in steps {
        match step {
            Step::Open { prefix, attributes, declared } if open.len() < 30 => {
                let colon = |prefix: usize| if prefix == 0 { "" } else { ":" };
                let name = format!("{}{}e", PREFIXES[*prefix], colon(*prefix));
                text.push_str(&format!("<{name}"));
                let mut said = Vec::new();
                for (prefix, namespace) in declared {
                    let namespace = NAMESPACES.get(*namespace).copied().unwrap_or("");
                    let is_wrong =
                        said.contains(&(*prefix, NAMES.len())) || *prefix > 0 && namespace.is_empty();
                    if !is_wrong {
                        said.push((*prefix, NAMES.len()));
                        text.push_str(&format!(
                            " xmlns{}{}='{namespace}'",
                            colon(*prefix),
                            PREFIXES[*prefix]
                        ));
                    }
                }
                for (prefix, name, value) in attributes {
                    let value = value.replace('\'', "&apos;");
                    if !said.contains(&(*prefix, *name)) {
                        said.push((*prefix, *name));
                        text.push_str(&format!(
                            " {}{}{}='{value}'",
                            PREFIXES[*prefix],
                            colon(*prefix),
                            NAMES[*name]
                        ));
                    }
                }
                text.push('>');
                open.push(name);
            }
            Step::Close => open.pop().into_iter().for_each(|name| text.push_str(&format!("</{name}>"))),
            Step::Text(written) => text.push_str(written),
            Step::Open { .. } => {}
        }
    }
    open.into_iter().rev().for_each(|name| text.push_str(&format!("</{name}>")));
    text + "</r>"
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(400) })]

    /// Whatever is read can be written and read again, and is the same; nothing makes the reader fall over.
    #[test]
    fn what_is_read_is_read_again_from_its_canonical_text(
        steps in steps(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), "[<>&;:=/!?'\"a \\[\\]-]{0,3}", 0..3_usize), 0..3),
    ) {
        let mut text = write_document(&steps).replace(PLACE, "");
        for (at, inserted, cut) in edits {
            let begin = text.floor_char_boundary(at.index(text.len()));
            let end = text.ceil_char_boundary((begin + cut).min(text.len()));
            text.replace_range(begin..end, &inserted);
        }
        if let Ok(read) = XmlElement::read_document(&text, &XmlBounds::MESSAGE) {
            let canonical = canonicalize_element(&read, &[], None);
            let again = XmlElement::read_document(&canonical, &XmlBounds::MESSAGE);
            prop_assert!(again.is_ok(), "{text}\n{canonical}");
            prop_assert_eq!(again.map(|again| canonicalize_element(&again, &[], None)).ok(), Some(canonical));
        }
    }

    /// The text that libxml2 digests is ours: else its digest would differ, and the document be refused.
    #[test]
    fn our_canonical_text_is_that_of_libxml2(
        steps in steps(),
        list in prop_oneof![Just(""), Just("p"), Just("#default"), Just("r q"), Just("p #default x")],
    ) {
        let text = write_document(&steps);
        prop_assume!(XmlElement::read_document(&text.replace(PLACE, ""), &XmlBounds::MESSAGE).is_ok());
        let signed = P256.sign(&text, "c", &Wanted { prefix_list: list, ..P256.ordinary() });
        let outcome = verify(&signed, &[P256.idp_key()], false);
        prop_assert!(outcome.is_ok(), "{signed}\n{:?}", outcome.err());
    }
}
