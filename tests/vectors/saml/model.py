#!/usr/bin/env python3
"""The rules once more, as plainly as Python says them: which step refuses a Response, and for how many reasons.

Neither the generator nor the product: expat parses, libxmlsec1 verifies, OpenSSL decrypts. It prints every case whose first
refusal is of no class that the case allows, and every attack on the profile that has a second fault.
"""

import base64
import binascii
import datetime
import re
import sys
import xml.parsers.expat
import zlib
from collections import Counter
from urllib.parse import unquote

from check import (
    CASES,
    DS,
    HERE,
    IDPS,
    SAML,
    SP,
    XENC,
    build_xml,
    load,
    parse,
    verify_query,
    verify_signatures,
)
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lxml import etree

SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
EXC = "http://www.w3.org/2001/10/xml-exc-c14n#"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
METHODS = {MORE + f"{kind}-sha{n}" for kind in ("rsa", "ecdsa") for n in (256, 384, 512)}
DIGESTS = {
    "http://www.w3.org/2001/04/xmlenc#sha256",
    MORE + "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
}
SHA1_METHODS, SHA1_DIGESTS = {DS + "rsa-sha1", MORE + "ecdsa-sha1"}, {DS + "sha1"}
TRANSPORTS = {XENC + "rsa-oaep-mgf1p", "http://www.w3.org/2009/xmlenc11#rsa-oaep"}
SIZES = {
    "http://www.w3.org/2009/xmlenc11#aes128-gcm": 16,
    "http://www.w3.org/2009/xmlenc11#aes256-gcm": 32,
    XENC + "aes128-cbc": 16,
    XENC + "aes256-cbc": 32,
}
HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?Z")
MINUTES_10 = 600_000
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Refusal(Exception):
    pass


def refuse_if(condition, kind):
    if condition:
        raise Refusal(kind)


# ---- A and B


def read_field(case):
    if "field" in case:
        text = (HERE / case["field"]).read_bytes().decode("utf-8", "replace")
    elif "generate" in case and case["generate"]["target"] == "field":
        text = "".join(
            x.get("text", x.get("repeat", "") * x.get("times", 0)) for x in case["generate"]["parts"]
        )
    else:
        text = base64.b64encode(build_xml(case)).decode()
    refuse_if(len(text) > 512 * 1024, "too_large")
    text = re.sub(r"[ \t\r\n]", "", text)
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refusal("malformed") from error
    refuse_if(base64.b64encode(data).decode() != text, "malformed")
    refuse_if(len(data) > 384 * 1024, "too_large")
    return data


def scan_bytes(data):
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Refusal("malformed") from error
    refuse_if(re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text), "malformed")
    declared = re.match(r"<\?xml[^>]*encoding=[\"']([^\"']*)", text)
    refuse_if(declared and declared[1].lower() != "utf-8", "malformed")
    refuse_if(re.match(r"<\?xml version=[\"'](?!1\.0)", text), "malformed")
    seen = Counter()
    parser = xml.parsers.expat.ParserCreate("UTF-8", " ")

    def forbid(*_):
        raise Refusal("forbidden_xml")

    def start(_, attributes):
        seen["elements"] += 1
        seen["depth"] += 1
        at = parser.CurrentByteIndex
        refuse_if(data.index(b">", at) - at > 4096, "too_large")
        refuse_if(
            len(attributes) + seen["declared"] > 24 or seen["depth"] > 40 or seen["elements"] > 20_000,
            "too_large",
        )
        seen["declared"] = 0

    def end(_):
        seen["depth"] -= 1

    def declare(_, uri):
        seen["declared"] += 1
        refuse_if(uri is not None and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri), "forbidden_xml")

    parser.StartDoctypeDeclHandler = parser.CommentHandler = parser.ProcessingInstructionHandler = forbid
    parser.StartCdataSectionHandler = parser.SkippedEntityHandler = forbid
    parser.StartElementHandler, parser.EndElementHandler, parser.StartNamespaceDeclHandler = (
        start,
        end,
        declare,
    )
    try:
        parser.Parse(data, True)
    except xml.parsers.expat.ExpatError as error:
        raise Refusal("malformed") from error


# ---- C and D


def split_name(node):
    return re.match(r"(?:\{(.*)\})?(.*)", node.tag).groups()


def children(node):
    return [c for c in node if isinstance(c.tag, str)]


def check_shape(root):
    refuse_if(root.tag != f"{{{SAMLP}}}Response", "structure")
    names = [c.tag for c in children(root)]
    allowed = {
        f"{{{SAML}}}Issuer",
        f"{{{DS}}}Signature",
        f"{{{SAMLP}}}Extensions",
        f"{{{SAMLP}}}Status",
        f"{{{SAML}}}Assertion",
        f"{{{SAML}}}EncryptedAssertion",
    }
    refuse_if(set(names) - allowed, "structure")
    refuse_if(max(Counter(names).values()) > 1, "structure")
    refuse_if(
        sum(x.endswith("}Assertion") or x.endswith("}EncryptedAssertion") for x in names) != 1, "structure"
    )
    refuse_if((root.text or "").strip() or any((c.tail or "").strip() for c in root), "structure")
    extensions = root.find(f"{{{SAMLP}}}Extensions")
    if extensions is not None:
        refuse_if(
            any(split_name(x)[0] in (SAML, SAMLP, DS) for x in extensions.iterdescendants()), "structure"
        )
    check_tree(root, {f"{{{SAMLP}}}Response", f"{{{SAML}}}Assertion"})


def check_tree(root, holders):
    """No second Assertion, Response or Signature, and IDs that are what they seem, in a whole tree."""
    ids, counts = [], Counter()
    for node in root.iter("*"):
        space, name = split_name(node)
        if name in ("Assertion", "Response", "EncryptedAssertion"):
            counts["Assertion" if name == "EncryptedAssertion" else name] += 1
            refuse_if(node.tag not in holders | {f"{{{SAML}}}EncryptedAssertion"}, "structure")
        if name == "Signature":
            refuse_if(
                space != DS
                or node.getparent().tag not in holders
                or len(node.getparent().findall(node.tag)) > 1,
                "structure",
            )
        for key, value in node.attrib.items():
            plain = key.split("}")[-1]
            if plain in ("ID", "AssertionID", "Id", "id"):
                fine = key == "ID" and node.tag in holders or key == "Id" and space in (DS, XENC)
                refuse_if(not fine or not re.fullmatch(r"[^\W\d][\w.-]*", value), "structure")
                ids.append(value)
    refuse_if(counts["Assertion"] > 1 or counts["Response"] > 1 or len(set(ids)) != len(ids), "structure")
    for holder in holders:
        refuse_if(any(x.get("ID") is None for x in root.iter(holder)), "structure")


def local_names(node, space=DS):
    refuse_if(any(split_name(c)[0] != space for c in children(node)), "signature_policy")
    return [split_name(c)[1] for c in children(node)]


def text_of(node):
    refuse_if(len(node) or not (node.text or "").strip(), "signature_policy")
    return re.sub(r"\s", "", node.text)


def check_signature_shape(signature, idp):
    names = local_names(signature)
    refuse_if(
        names not in (["SignedInfo", "SignatureValue"], ["SignedInfo", "SignatureValue", "KeyInfo"]),
        "signature_policy",
    )
    info, value = children(signature)[:2]
    if len(names) == 3:
        key_info = children(signature)[2]
        refuse_if(set(local_names(key_info)) - {"X509Data", "KeyValue", "KeyName"}, "signature_policy")
    try:
        base64.b64decode(text_of(value), validate=True)
    except ValueError as error:
        raise Refusal("signature_invalid") from error
    refuse_if(
        local_names(info) != ["CanonicalizationMethod", "SignatureMethod", "Reference"], "signature_policy"
    )
    c14n, method, reference = children(info)
    refuse_if(c14n.get("Algorithm") != EXC or len(c14n) or len(method), "signature_policy")
    sha1 = idp["allow_sha1"]
    refuse_if(method.get("Algorithm") not in METHODS | (SHA1_METHODS if sha1 else set()), "signature_policy")
    refuse_if(reference.get("URI") != "#" + (signature.getparent().get("ID") or "?"), "signature_policy")
    refuse_if(local_names(reference) != ["Transforms", "DigestMethod", "DigestValue"], "signature_policy")
    transforms, digest, digest_value = children(reference)
    listed = [x.get("Algorithm") for x in children(transforms)]
    refuse_if(listed != [DS + "enveloped-signature", EXC] or len(children(transforms)[0]), "signature_policy")
    inner = children(children(transforms)[1])
    refuse_if(
        len(inner) > 1 or any(x.tag != f"{{{EXC}}}InclusiveNamespaces" for x in inner), "signature_policy"
    )
    refuse_if(digest.get("Algorithm") not in DIGESTS | (SHA1_DIGESTS if sha1 else set()), "signature_policy")
    text_of(digest_value)


def check_signatures(root, idp):
    """What the signatures cover: `response`, `assertion` or nothing. All that are there must verify."""
    found = list(root.iter(f"{{{DS}}}Signature"))
    for signature in found:
        check_signature_shape(signature, idp)
    for pem in idp["certificates"]:
        public = x509.load_pem_x509_certificate(pem.encode()).public_key()
        refuse_if(
            found and isinstance(public, rsa.RSAPublicKey) and public.key_size < 2048, "signature_policy"
        )
    refuse_if(verify_signatures(root, idp)[1], "signature_invalid")
    parents = {s.getparent().tag.split("}")[1].lower() for s in found}
    return "response" if "response" in parents else "assertion" if parents else None


# ---- F


def algorithm_of(node):
    method = node.find(f"{{{XENC}}}EncryptionMethod")
    refuse_if(method is None, "decrypt")
    return method, method.get("Algorithm")


def value_of(node):
    value = node.find(f"{{{XENC}}}CipherData/{{{XENC}}}CipherValue")
    refuse_if(value is None, "decrypt")
    return base64.b64decode(re.sub(r"\s", "", value.text or ""), validate=True)


def unwrap_key(holder):
    keys = list(holder.iter(f"{{{XENC}}}EncryptedKey"))
    refuse_if(len(keys) != 1, "decrypt")
    method, name = algorithm_of(keys[0])
    digest, mgf = method.find(f"{{{DS}}}DigestMethod"), method.find("{http://www.w3.org/2009/xmlenc11#}MGF")
    digest = HASHES["sha1" if digest is None else digest.get("Algorithm").split("#")[1]]()
    mgf = HASHES["sha1" if mgf is None else mgf.get("Algorithm").split("#mgf1")[1]]()
    refuse_if(name not in TRANSPORTS, "decrypt")
    for pem in SP["decryption_keys"]:
        private = serialization.load_pem_private_key(pem.encode(), None)
        try:
            return private.decrypt(value_of(keys[0]), padding.OAEP(padding.MGF1(mgf), digest, None))
        except ValueError:
            continue
    raise Refusal("decrypt")


def open_data(holder, signed, idp):
    """The plaintext of one EncryptedAssertion, EncryptedID or EncryptedAttribute."""
    found = holder.findall(f"{{{XENC}}}EncryptedData")
    refuse_if(len(found) != 1 or found[0].get("Type") not in (None, XENC + "Element"), "decrypt")
    _, name = algorithm_of(found[0])
    refuse_if(
        name not in (SIZES if signed or idp["allow_cbc"] else {k: v for k, v in SIZES.items() if "gcm" in k}),
        "decrypt",
    )
    secret, sealed = unwrap_key(holder), value_of(found[0])
    refuse_if(len(secret) != SIZES[name], "decrypt")
    if name.endswith("gcm"):
        return AESGCM(secret).decrypt(sealed[:12], sealed[12:], None)
    opened = Cipher(algorithms.AES(secret), modes.CBC(sealed[:16])).decryptor()
    text = opened.update(sealed[16:]) + opened.finalize()
    refuse_if(not text or not 1 <= text[-1] <= 16, "decrypt")
    return text[: -text[-1]]


def open_sealed(root, name, signed, idp, wanted):
    """Puts an element that passed the scan into the place of each holder of that name."""
    for holder in root.findall(f".//{{{SAML}}}{name}"):
        try:
            text = open_data(holder, signed, idp)
        except (ValueError, KeyError, InvalidTag) as error:
            raise Refusal("decrypt") from error
        refuse_if(not text.strip(), "decrypt")
        scan_bytes(text)
        plain = parse(text)
        refuse_if(plain.tag != f"{{{SAML}}}{wanted}", "structure")
        holder.getparent().replace(holder, plain)
    return root


# ---- G


def to_ms(text):
    match = TIME.fullmatch(text or "")
    refuse_if(not match, "malformed")
    try:
        moment = datetime.datetime(*map(int, match.groups()[:6]), tzinfo=datetime.timezone.utc)
    except ValueError as error:
        raise Refusal("malformed") from error
    return int(moment.timestamp() * 1000) + int(((match[7] or "") + "000")[:3])


def list_faults(case, response, assertion):
    """Every class for which the profile refuses; `response` is None where nothing signed it."""
    idp, now, faults = IDPS[case["idp"]], case["now"], []
    skew = idp["skew_ms"]

    def fault_if(condition, kind):
        if condition:
            faults.append(kind)

    def check_time(owner, name, early, late, needed=False):
        if owner.get(name) is None:
            fault_if(needed, "malformed")
            return
        try:
            moment = to_ms(owner.get(name))
        except Refusal:
            faults.append("malformed")
            return
        fault_if(early is not None and moment > now + early, "not_yet_valid")
        fault_if(late is not None and moment + late <= now, "expired")

    def q(name):
        return f"{{{SAML}}}{name}"

    for part in (response, assertion):
        if part is None:
            continue
        fault_if(part.get("Version") != "2.0", "version")
        check_time(part, "IssueInstant", skew, MINUTES_10, True)
        issuer = part.find(q("Issuer"))
        fault_if(issuer is None or issuer.text != idp["entity_id"], "issuer")
    expected = case["request_id"]
    if response is not None:
        fault_if(response.get("Destination") != SP["acs"], "destination")
        status = response.find(f"{{{SAMLP}}}Status")
        codes = [] if status is None else status.findall(f"{{{SAMLP}}}StatusCode")
        fault_if(len(codes) != 1 or codes[0].get("Value") != SUCCESS, "status")
        fault_if(response.get("InResponseTo") != expected, "in_response_to")
    fault_if(expected is None and not idp["idp_initiated"], "in_response_to")
    subjects = assertion.findall(q("Subject"))
    if len(subjects) != 1:
        faults.append("subject")
    else:
        check_subject(subjects[0], expected, case, fault_if, q)
    conditions = assertion.findall(q("Conditions"))
    fault_if(len(conditions) != 1, "audience")
    for one in conditions[:1]:
        check_time(one, "NotBefore", skew, None)
        check_time(one, "NotOnOrAfter", None, skew)
        restrictions = one.findall(q("AudienceRestriction"))
        fault_if(not restrictions, "audience")
        fault_if(
            any(SP["entity_id"] not in [a.text for a in r.findall(q("Audience"))] for r in restrictions),
            "audience",
        )
        known = {q("AudienceRestriction"), q("OneTimeUse"), q("ProxyRestriction")}
        fault_if(any(c.tag not in known for c in children(one)), "structure")
    statements = assertion.findall(q("AuthnStatement"))
    fault_if(not statements, "subject")
    for one in statements:
        check_time(one, "SessionNotOnOrAfter", None, 0)
    for value in assertion.iter(q("AttributeValue")):
        fault_if(CONTROL.search(value.text or ""), "subject")
    return faults


def check_subject(subject, expected, case, fault_if, q):
    names = subject.findall(q("NameID"))
    text = "".join(names[0].itertext()) if names else ""
    fault_if(len(names) != 1 or len(names[0]) or not text.strip() or CONTROL.search(text), "subject")
    bearers = [c for c in subject.findall(q("SubjectConfirmation")) if c.get("Method") == BEARER]
    data = [c.find(q("SubjectConfirmationData")) for c in bearers]
    data = [d for d in data if d is not None]
    if not data:
        fault_if(True, "subject")
        return
    every = subject.iter(q("SubjectConfirmationData"))
    fault_if(expected is None and any(d.get("InResponseTo") is not None for d in every), "in_response_to")
    best = None
    for one in data:
        wrong = []
        if one.get("Recipient") != SP["acs"]:
            wrong.append("recipient")
        if (
            one.get("NotOnOrAfter") is None
            or to_ms(one.get("NotOnOrAfter")) + IDPS[case["idp"]]["skew_ms"] <= case["now"]
        ):
            wrong.append("expired")
        if one.get("InResponseTo") != expected:
            wrong.append("in_response_to")
        best = wrong if best is None or len(wrong) < len(best) else best
    for kind in best:
        fault_if(True, kind)


# ---- all steps


def judge(case, spent):
    """The faults of the first step that refuses; none where the Response is accepted."""
    idp = IDPS[case["idp"]]
    try:
        data = read_field(case)
        scan_bytes(data)
        root = parse(data)
        check_shape(root)
        signed = check_signatures(root, idp)
        sealed = root.find(f"{{{SAML}}}EncryptedAssertion") is not None
        refuse_if(not signed and not sealed, "unsigned")
        response = root if signed == "response" else None
        if sealed:
            root = open_sealed(root, "EncryptedAssertion", signed, idp, "Assertion")
            # By itself, as it was signed: within the Response its namespaces would not change, its ancestors would.
            inner = parse(etree.tostring(root.find(f"{{{SAML}}}Assertion"), with_tail=False))
            check_tree(inner, {f"{{{SAML}}}Assertion"})
            signed = check_signatures(inner, idp) or signed
        refuse_if(not signed, "unsigned")
        for name, wanted in (("EncryptedID", "NameID"), ("EncryptedAttribute", "Attribute")):
            root = open_sealed(root, name, True, idp, wanted)
        assertion = root.find(f"{{{SAML}}}Assertion")
        response = None if response is None else root
        faults = list_faults(case, response, assertion)
        if faults:
            return faults
        identity = (idp["entity_id"], assertion.get("ID"))
        refuse_if(identity in spent, "replay")
        spent.add(identity)
        return []
    except Refusal as refusal:
        return [refusal.args[0]]


# ---- logout

PARAMETERS = {"SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature"}


def read_query(case):
    """The message of a query whose signature was verified over its raw octets."""
    pairs = [x.split("=", 1) for x in case["query"].split("&")]
    names = [x[0] for x in pairs]
    refuse_if(
        set(names) - PARAMETERS or len(set(names)) != len(names) or len(names) - len(set(names) & PARAMETERS),
        "structure",
    )
    kind = "SAMLRequest" if case["kind"] == "request" else "SAMLResponse"
    refuse_if(names[0] != kind or {"SAMLRequest", "SAMLResponse"} <= set(names), "structure")
    parts = dict(pairs)
    refuse_if(any(re.search("%(?![0-9A-Fa-f]{2})", x) for x in parts.values()), "malformed")
    refuse_if(not parts.get("Signature"), "unsigned")
    refuse_if("SigAlg" not in parts or unquote(parts["SigAlg"]) not in METHODS, "signature_policy")
    try:
        refuse_if(not verify_query(case), "signature_invalid")
        packed = base64.b64decode(unquote(parts[kind]), validate=True)
    except binascii.Error as error:
        raise Refusal("signature_invalid") from error
    opener = zlib.decompressobj(-15)
    try:
        data = opener.decompress(packed, 64 * 1024)
    except zlib.error as error:
        raise Refusal("malformed") from error
    refuse_if(opener.unconsumed_tail, "too_large")
    refuse_if(not opener.eof or opener.unused_data or not data, "malformed")
    return data


def list_logout_faults(case, root):
    idp, now, faults = IDPS[case["idp"]], case["now"], []

    def fault_if(condition, kind):
        if condition:
            faults.append(kind)

    issuer = root.find(f"{{{SAML}}}Issuer")
    fault_if(issuer is None or issuer.text != idp["entity_id"], "issuer")
    fault_if(root.get("Version") != "2.0", "version")
    fault_if(root.get("Destination") != SP["slo"], "destination")
    issued = to_ms(root.get("IssueInstant"))
    fault_if(issued > now + idp["skew_ms"], "not_yet_valid")
    fault_if(issued + MINUTES_10 <= now, "expired")
    if case["kind"] == "response":
        fault_if(
            root.get("InResponseTo") is None or root.get("InResponseTo") != case["request_id"],
            "in_response_to",
        )
        codes = root.findall(f"{{{SAMLP}}}Status/{{{SAMLP}}}StatusCode")
        fault_if(len(codes) != 1 or codes[0].get("Value") != SUCCESS, "status")
        return faults
    fault_if(root.get("NotOnOrAfter") and to_ms(root.get("NotOnOrAfter")) + idp["skew_ms"] <= now, "expired")
    names = root.findall(f"{{{SAML}}}NameID")
    fault_if(len(names) != 1 or not (names[0].text or "").strip(), "subject")
    return faults


def judge_logout(case, spent):
    try:
        idp = IDPS[case["idp"]]
        wanted = "LogoutRequest" if case["kind"] == "request" else "LogoutResponse"
        data = read_query(case) if "query" in case else (HERE / case["file"]).read_bytes()
        scan_bytes(data)
        root = parse(data)
        refuse_if(root.tag != f"{{{SAMLP}}}{wanted}", "structure")
        refuse_if(
            any(split_name(x)[1] in ("LogoutRequest", "Assertion") for x in root.iterdescendants("*")),
            "structure",
        )
        check_tree(root, {root.tag})
        if "query" not in case:
            refuse_if(check_signatures(root, idp) is None, "unsigned")
        root = open_sealed(root, "EncryptedID", True, idp, "NameID")
        faults = list_logout_faults(case, root)
        if faults:
            return faults
        refuse_if(root.get("ID") in spent, "replay")
        spent.add(root.get("ID"))
        return []
    except Refusal as refusal:
        return [refusal.args[0]]


def compare_all(cases, decide):
    by_name = {c["name"]: c for c in cases}
    agreed, first, more = 0, [], []
    for case in cases:
        spent = set()
        if "after" in case:
            assert not decide(by_name[case["after"]], spent), case["after"]
        faults = decide(case, spent)
        expect = case["expect"]
        allowed = set() if expect["accepted"] else set(expect.get("classes", [expect["class"]]))
        if bool(faults) == expect["accepted"] or not set(faults[:1]) <= allowed:
            first.append(
                (case["name"], "expected", sorted(allowed) or "accepted", "found", faults or "accepted")
            )
        else:
            agreed += 1
        if set(faults) - allowed and set(faults[:1]) <= allowed and not expect["accepted"]:
            more.append((case["name"], "expected", sorted(allowed), "found", faults))
    print(f"model: agrees on {agreed} of {len(cases)}; {len(more)} with a second fault")
    for row in first + more:
        print("  ", *row)
    return not first + more


def main():
    sys.exit(0 if compare_all(CASES, judge) & compare_all(load("logout.json"), judge_logout) else 1)


if __name__ == "__main__":
    main()
