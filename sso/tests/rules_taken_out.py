#!/usr/bin/env python3
"""Takes each rule of SAML's metadata and logout out of a copy of this crate and shows that a test falls.

Each row: the rule, the file below `sso/src/saml`, what stands there, what is put in its place. How it is run:
`tests/taken_out.py`.
"""
import pathlib, re, shutil, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from taken_out import ROOT, Row, main, passes

ROWS = [
    ("metadata: the entity is the one that is meant", "metadata/mod.rs",
     "entities.iter().filter(|entity| entity.entity_id == wanted).collect()", "entities.iter().collect()"),
    ("metadata: two of one name are none", "metadata/mod.rs",
     "        ([one], _) => {", "        ([one, ..], _) => {"),
    ("metadata: its end is kept", "metadata/mod.rs",
     "Some(until) if until <= now =>", "Some(until) if until <= now && false =>"),
    ("metadata: the end of what is around it counts too", "metadata/mod.rs",
     "(inner, entity.valid_until, entity.cache_ms)", "(inner, None, entity.cache_ms)"),
    ("metadata: the end of the role counts too", "metadata/role.rs",
     "    bounds.narrow(role)?;\n", ""),
    ("metadata: what a certificate is pinned for is signed", "metadata/mod.rs",
     "let root = if rules.pinned.is_empty() {", "let root = if true {"),
    ("metadata: what is signed holds no comment", "metadata/mod.rs",
     "skips_comments: rules.pinned.is_empty()", "skips_comments: true"),
    ("metadata: an encryption key signs nothing", "metadata/role.rs",
     "if !matches!(descriptor.attribute(\"use\"), None | Some(\"signing\")) {", "if false {"),
    ("metadata: without a key there is no identity provider", "metadata/role.rs",
     "    if keys.is_empty() {", "    if false {"),
    ("metadata: SAML 2.0 is spoken", "metadata/role.rs",
     "protocols.split_whitespace().any(|protocol| protocol == namespace::PROTOCOL)", "protocols.len() > 1"),
    ("metadata: addresses are of https", "metadata/endpoint.rs",
     '"http" => return fault("is not https"),', '"http" => {}'),
    ("metadata: plain http is for this machine where it is allowed", "metadata/endpoint.rs",
     '"http" if is_loopback && allow_loopback => {}', '"http" if is_loopback => {}'),
    ("metadata: no address has a message in it", "metadata/endpoint.rs",
     "match url.query_pairs().any(|(name, _)| is_ours(&name)) {", "match false {"),
    ("query: the signature is over its octets", "redirect.rs",
     "fitting.any(|key| key.verifies(self.hash, self.signed.as_bytes(), &self.signature))", "fitting.next().is_some()"),
    ("query: RelayState is signed", "redirect.rs",
     'for name in ["RelayState", "SigAlg"] {', 'for name in ["SigAlg"] {'),
    ("query: each parameter stands once", "redirect.rs",
     "if found.iter().any(|(before, _)| *before == known) {", "if false {"),
    ("query: each parameter has its plain name", "redirect.rs",
     "            if name != known {", "            if false {"),
    ("query: no signature, no message", "redirect.rs",
     '.filter(|raw| !raw.is_empty()).ok_or_else(refuse_unsigned)?', ".unwrap_or_default()"),
    ("query: SHA-1 is not taken", "redirect.rs",
     ".filter(|(_, hash)| *hash != SignedHash::Sha1)", ""),
    ("query: a message is bounded when it is inflated", "redirect.rs",
     "const MOST_TEXT: usize = 64 * 1024;", "const MOST_TEXT: usize = 64 * 1024 * 1024;"),
    ("query: nothing is behind what is inflated", "redirect.rs",
     "Ok(Status::StreamEnd) if is_whole =>", "Ok(Status::StreamEnd) if is_whole || true =>"),
    ("query: a request and a response are not one message", "redirect.rs",
     '(Some(_), Some(_)) => Err(refuse_query("SAMLRequest or SAMLResponse", "both")),',
     "(Some(raw), Some(_)) => Ok((SamlParameter::Request, raw)),"),
    ("query: a bare plus sign is no base64", "redirect.rs",
     "if raw.contains('+') {", "if false {"),
    ("form: the message is signed", "inbound.rs",
     "let signed = verify_document(&self.text, &[&self.root], &trust)?;\n        Ok(SignedMessage::new(self.parameter, signed.root, None))",
     "let _ = verify_document(&self.text, &[&self.root], &trust);\n        Ok(SignedMessage::new(self.parameter, self.root, None))"),
    ("form: SHA-1 is not taken", "inbound.rs",
     "allow_sha1: false", "allow_sha1: true"),
    ("form: signatures and IDs stand in their places", "inbound.rs",
     "        check_places(&root, &[&root])?;\n", ""),
    ("logout: the issuer is the identity provider", "logout/envelope.rs",
     "if issuer == Some(expected.idp_entity_id) && is_entity {", "if true {"),
    ("logout: it was sent to us", "logout/envelope.rs",
     "    check_destination(root, expected)?;\n", ""),
    ("logout: it is of SAML 2.0", "logout/envelope.rs",
     "    check_version(root)?;\n", ""),
    ("logout: it is not of the future", "logout/envelope.rs",
     "if issued > now.plus_ms(expected.skew_ms) {", "if false {"),
    ("logout: it is of the last ten minutes", "logout/envelope.rs",
     "if now > issued.plus_ms(MOST_AGE_MS) {", "if false {"),
    ("logout: its end is kept", "logout/envelope.rs",
     "Some(end) if now.plus_ms(-expected.skew_ms) >= end =>", "Some(end) if now.plus_ms(-expected.skew_ms) >= end && false =>"),
    ("logout: a message is the kind that it came as", "logout/mod.rs",
     "if message.parameter() == parameter && root.is(namespace::PROTOCOL, local) {", "if true {"),
    ("logout: an answer is to our pending request", "logout/mod.rs",
     "answered.filter(|answered| pending == Some(*answered))", "answered"),
    ("logout: an answer says success", "logout/mod.rs",
     "check_status(root).map_err(|refusal| LoginRefusal { remedy: NOT_ENDED, ..refusal })?;", "let _ = (check_status, NOT_ENDED);"),
    ("logout: a copy is remembered until none would be taken", "logout/envelope.rs",
     "Ok(by_end.map_or(by_age, |end| end.min(by_age)))", "Ok(by_age.min(expected.now))"),
    ("logout: both spellings of a name are one key", "name_key.rs",
     ".filter(|text| !text.is_empty()).unwrap_or(otherwise)", ".unwrap_or_default()"),
    ("ours: what an address has in its query stays in front", "outbound.rs",
     'Some(_) => "&",', 'Some(_) => "?",'),
    ("ours: RelayState is signed", "outbound.rs",
     "signer.sign(query.as_bytes())", "signer.sign(query.split(\"&RelayState\").next().unwrap_or_default().as_bytes())"),
    ("ours: a certificate belongs to its key", "sp_key.rs",
     "if certificate.wraps(&key.public_key()) {", "if true {"),
]


def make_copy(copy):
    members = ["policy", "keys", "rig", "sso"]
    for member in members:
        shutil.copytree(ROOT / member, copy / member)
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns(".cache", "target", "suite"))
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
         falls=lambda copy, target, row: not run(copy, target, "--", "saml::", "metadata", "logout", "own_messages", "queries"))
