#!/usr/bin/env python3
"""Takes each rule of a SAML response out of a copy of this crate and shows that a test falls.

Each row: the rule, the file below `sso/src/saml`, what stands there, what is put in its place. How it is run:
`tests/taken_out.py`.
"""
import pathlib, re, shutil, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests"))
from taken_out import ROOT, Row, main, passes

ROWS = [
    ("field: no control characters", "field.rs", "match find_control(&text) {", 'match find_control("") {'),
    ("field: bounded before it is decoded", "field.rs", "if field.len() > MOST {", "if false {"),
    ("xml: a namespace is absolute", "reader.rs", "uri if is_absolute_uri(uri) => Ok(()),",
     "uri if is_absolute_uri(uri) || true => Ok(()),"),
    ("xml: an attribute stands once", "reader.rs",
     "if attributes.iter().any(|before| before.local == local && before.namespace == namespace) {", "if false {"),
    ("xml: one root", "reader.rs", "if self.root.is_some() {", "if false {"),
    ("xml: entities are the five", "tag.rs", "name if is_ncname(name) => {", 'name if name == "nbsp" => Ok(\' \'),\n            name if is_ncname(name) => {'),
    ("xml: depth and number are bounded", "reader.rs",
     "if self.elements > self.bounds.elements || self.open.len() >= self.bounds.depth {", "if false {"),
    ("shape: each part of a response once", "shape.rs", "if !is_known || !before.insert(&*child.local) {",
     "if !before.insert(&*child.local) && false {"),
    ("shape: one assertion", "shape.rs", '(Some(_), Some(_)) => Err(refuse_shape("one assertion", "two")),',
     "(Some(payload), Some(_)) => Ok(payload),"),
    ("shape: nothing of SAML in extensions", "shape.rs",
     "match inside.into_iter().find(|element| is_decisive(&element.namespace)) {",
     "match inside.into_iter().find(|_| false) {"),
    ("shape: what decides stands in one place", "shape.rs",
     "if SINGULAR.contains(&&*element.local) && !places.contains(&std::ptr::from_ref(element)) {", "if false {"),
    ("shape: IDs in their places", "shape.rs", "if !is_in_place || !is_ncname(&attribute.value) {", "if false {"),
    ("shape: each ID once", "shape.rs", "if !ids.insert(&attribute.value) {", "if false {"),
    ("signature: the reference is to what holds it", "signature.rs",
     "if id.is_empty() || uri.strip_prefix('#') != Some(id) {", "if false {"),
    ("signature: the first transform is enveloped-signature", "signature.rs",
     "if bare_algorithm(enveloped) != Some(ENVELOPED) {", "if false {"),
    ("signature: canonicalization is exclusive", "signature.rs",
     'if method.attribute("Algorithm") != Some(namespace::EXCLUSIVE_C14N) || method.attributes.len() != 1 {', "if false {"),
    ("signature: r and s are no zeros", "signature.rs",
     "if value.is_empty() || family == KeyFamily::Ecdsa && has_zero_half(&value) {", "if value.is_empty() {"),
    ("signature: KeyInfo fetches nothing", "signature.rs",
     'if !matches!(&*hint.local, "X509Data" | "KeyValue" | "KeyName") {', "if false {"),
    ("signature: SHA-1 only where it is allowed", "verify.rs", ".filter(|_| !trust.allow_sha1)", ".filter(|_| false)"),
    ("verification: by a known key", "second.rs",
     ".find(|key| key.verifies(shape.hash, info.as_bytes(), &shape.value))", ".next()"),
    ("verification: of what was digested", "second.rs",
     "if !equal_bytes(&shape.digest_hash.digest(text.as_bytes()), &shape.digest) {", "if false {"),
    ("verification: both libraries read the same text", "verify.rs", "Ok(theirs) if theirs == *ours =>",
     "Ok(_) if !ours.is_empty() =>"),
    ("verification: every signature counts", "verify.rs",
     "shapes.iter().map(|shape| verify_signature(", "shapes.iter().take(1).map(|shape| verify_signature("),
    ("verification: only the signed text is read", "verify.rs", "=> read_signed(ours, outermost.signed),",
     "=> read_signed(ours, outermost.signed).map(|_| SignedElement { root: owners[0].clone() }),"),
    ("keys: RSA of 2048 bits", "idp_key.rs", "if (2048..=8192).contains(&count_bits(key.modulus)) =>",
     "if (1..=8192).contains(&count_bits(key.modulus)) =>"),
    ("engine: it opens no file", "engine_guard.rs", "        xmlSecIOCleanupCallbacks();\n", ""),
    ("decryption: CBC only where something protects it", "decrypt.rs",
     "if !cipher.is_authenticated() && !takes_cbc {", "if false {"),
    ("decryption: something is signed", "decrypt.rs",
     "if is_signed && read_signatures(&[assertion])?.is_empty() {", "if read_signatures(&[assertion])?.is_empty() {"),
    ("decryption: what is opened has the shape of an assertion", "decrypt.rs", "    check_assertion(assertion)?;\n", ""),
    ("decryption: a key is wrapped by OAEP", "decrypt.rs",
     'other => return Err(refuse_policy("a key encrypted by RSA-OAEP", other)),', "_ => false,"),
    ("profile: version", "profile/response.rs", 'if version != "2.0" {', "if false {"),
    ("profile: issuer", "profile/response.rs",
     "if issuer == Some(expected.idp_entity_id) && is_entity || issuer.is_none() && !is_required {", "if true {"),
    ("profile: destination", "profile/response.rs", "Some(destination) if destination == expected.acs_url => Ok(destination),",
     "Some(destination) => Ok(destination),"),
    ("profile: a signed response has a destination", "profile/response.rs", "None if !evidence.is_response_signed =>", "None =>"),
    ("profile: status", "status.rs", "if value == Some(SUCCESS) {", "if value.is_some() {"),
    ("profile: nothing is taken that is over", "instant.rs", "if now.0.saturating_sub(skew_ms) < end.0 {", "if true {"),
    ("profile: nothing is taken before it begins", "instant.rs", "if begin.0 <= now.0.saturating_add(skew_ms) {", "if true {"),
    ("profile: every restriction of the audience names us", "profile/assertion.rs",
     "if !audiences.contains(&expected.sp_entity_id) {", "if audiences.is_empty() {"),
    ("profile: there is a restriction of the audience", "profile/assertion.rs",
     "if restrictions.peek().is_none() {", "if false {"),
    ("profile: conditions are known", "profile/assertion.rs",
     'Some(condition) => Err(refuse_shape("conditions that are known", describe_element(condition))),\n        None =>', "_ =>"),
    ("profile: recipient", "profile/subject.rs", ".filter(|recipient| *recipient == expected.acs_url)", ".filter(|_| true)"),
    ("profile: a confirmation ends", "profile/subject.rs",
     '    check_not_over("NotOnOrAfter of SubjectConfirmationData", end, expected.now, expected.skew_ms)?;\n', ""),
    ("profile: the bearer is meant", "profile/subject.rs", "data.filter(|_| method == BEARER)", "data"),
    ("profile: unasked responses only where they are taken", "profile/subject.rs",
     "if expected.in_response_to.is_none() && !expected.allow_unsolicited {", "if false {"),
    ("profile: both name the request", "profile/subject.rs",
     "if said.iter().all(|said| *said == expected.in_response_to) {", "if said.contains(&expected.in_response_to) {"),
    ("profile: a name without control characters", "profile/subject.rs",
     "if holds_control(value) || qualifiers", "if qualifiers"),
    ("profile: values without control characters", "profile/statements.rs",
     "        if holds_control(text) {\n            return Err(refuse_header(name));\n        }\n", ""),
    ("profile: somebody signed in", "profile/statements.rs", "if statements.peek().is_none() {", "if false {"),
    ("profile: the end of the session", "profile/statements.rs",
     'check_not_over("SessionNotOnOrAfter", end, expected.now, expected.skew_ms)?;', ""),
    ("profile: the authentication context", "profile/statements.rs",
     "_ => Some(contexts.iter().find(is_wanted).ok_or_else(|| refuse_context(&contexts, expected))?),",
     "_ => contexts.iter().find(is_wanted),"),
    ("replay: remembered for as long as a copy is taken", "profile/mod.rs",
     "until.plus_ms(expected.skew_ms).min(issued.plus_ms(MOST_AGE_MS + 1))", "until.min(issued.plus_ms(MOST_AGE_MS + 1))"),
]


def make_copy(copy):
    members = ["policy", "keys", "sso", "rig"]
    for member in members:
        shutil.copytree(ROOT / member, copy / member)
    for part in ("vectors", "fuzz"):
        shutil.copytree(ROOT / "tests" / part, copy / "tests" / part, ignore=shutil.ignore_patterns("target", "artifacts"))
    for part in ("Cargo.lock", "rust-toolchain.toml"):
        shutil.copy(ROOT / part, copy / part)
    manifest = (ROOT / "Cargo.toml").read_text().partition("\n[package]\n")[0]
    manifest = re.sub(r"members = \[[^]]*\]", f"members = {members}".replace("'", '"'), manifest)
    (copy / "Cargo.toml").write_text(manifest)


def run(copy, target, *more):
    command = ["cargo", "test", "-q", "-p", "portcullis-sso", "--lib", "--test", "saml", "--target-dir", target, *more]
    return passes(command, copy, 900, "-A warnings")


if __name__ == "__main__":
    main([Row(rule, [(f"sso/src/saml/{name}", old, new)]) for rule, name, old, new in ROWS], make_copy,
         builds=lambda copy, target: run(copy, target, "--no-run"),
         falls=lambda copy, target, row: not run(copy, target, "--", "--skip", "what_is_read", "--skip", "libxml2"))
