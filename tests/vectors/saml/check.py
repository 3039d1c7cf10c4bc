#!/usr/bin/env python3
"""Puts the corpus before verifiers that have nothing in common with the generator, and prints counts.

xmlsec (libxmlsec1 through python-xmlsec) verifies every signature and decrypts; python3-saml judges whole Responses.
"""

import base64
import json
import sys
import zlib
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import xmlsec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

HERE = Path(__file__).resolve().parent
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
LATE = {
    "issuer",
    "destination",
    "recipient",
    "audience",
    "in_response_to",
    "expired",
    "not_yet_valid",
    "status",
    "subject",
    "version",
    "replay",
}


def load(name):
    return json.loads((HERE / name).read_text())


CASES, IDPS, SP = load("cases.json"), load("idps.json"), load("sp.json")
HOST, PATH = SP["acs"].removeprefix("https://").split("/", 1)
REQUEST = {"https": "on", "http_host": HOST, "script_name": "/" + PATH, "get_data": {}, "post_data": {}}


def parse(data):
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))


def decrypt_all(root, wrapper_name="EncryptedAssertion"):
    """Puts the plaintext in the place of each wrapper of that name."""
    path = f".//{{{SAML}}}{wrapper_name}/{{{XENC}}}EncryptedData"
    while True:
        sealed = root.find(path)
        if sealed is None:
            return root
        parent, plain = sealed.getparent(), None
        beside = parent.find(f"{{{XENC}}}EncryptedKey")
        if beside is not None:
            info = sealed.find(f"{{{DS}}}KeyInfo")
            if info is None:
                info = etree.Element(f"{{{DS}}}KeyInfo")
                sealed.insert(1, info)
            info.append(beside)
        for pem in SP["decryption_keys"]:
            manager = xmlsec.KeysManager()
            manager.add_key(xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatPem))
            copy = parse(etree.tostring(root))
            target = copy.find(path)
            wrapper = target.getparent()
            try:
                plain = xmlsec.EncryptionContext(manager).decrypt(target)
            except xmlsec.Error:
                continue
            break
        if plain is None:
            raise ValueError("nothing decrypts")
        if not isinstance(plain, etree._Element):
            plain = parse(plain)
        wrapper.getparent().replace(wrapper, plain)
        root = parse(etree.tostring(copy))


def verify_signatures(root, idp):
    """Counts the signatures of the document that a certificate of the IdP verifies, and those that none does."""
    good = bad = 0
    for node in root.iter(f"{{{DS}}}Signature"):
        verified = False
        for pem in idp["certificates"]:
            context = xmlsec.SignatureContext()
            context.key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatCertPem)
            xmlsec.tree.add_ids(root, ["ID"])
            try:
                context.verify(node)
                verified = True
                break
            except (xmlsec.Error, xmlsec.VerificationError):
                continue
        good, bad = good + verified, bad + (not verified)
    return good, bad


def settings_of(idp):
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "sp": {
                "entityId": SP["entity_id"],
                "assertionConsumerService": {"url": SP["acs"]},
                "privateKey": SP["decryption_keys"][0],
                "NameIDFormat": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
            },
            "idp": {
                "entityId": idp["entity_id"],
                "singleSignOnService": {"url": "https://idp.example.test/sso"},
                "x509certMulti": {"signing": idp["certificates"]},
            },
            "security": {
                "wantAttributeStatement": False,
                "allowRepeatAttributeName": True,
                "rejectDeprecatedAlgorithm": not idp["allow_sha1"],
                "allowedClockDrift": {},
            },
        },
        sp_validation_only=False,
    )


def ask_python3_saml(case, data):
    """None when python3-saml agrees with `expect` of a valid case, else its reason."""
    OneLogin_Saml2_Utils.now = staticmethod(lambda: case["now"] // 1000)
    response = OneLogin_Saml2_Response(settings_of(IDPS[case["idp"]]), base64.b64encode(data).decode())
    if not response.is_valid(REQUEST, case["request_id"]):
        return response.get_error() or "refused"
    expect = case["expect"]
    if response.get_nameid() != expect["name_id"]:
        return "name_id"
    if response.get_nameid_format() != expect["name_id_format"]:
        return "name_id_format"
    if response.get_session_index() != expect["session_index"]:
        return "session_index"
    loose = set(expect.get("unspecified_attributes", []))
    theirs = {
        k: [v or "" for v in values]
        for k, values in response.get_attributes().items()
        if k not in loose and values
    }
    if theirs != {k: v for k, v in expect["attributes"].items() if k not in loose}:
        return f"attributes: {str(theirs)[:100]}"
    return None


def read(case):
    return (HERE / case["file"]).read_bytes()


def compare_identity(case, root):
    """Names the part in which what libxml2 reads of the decrypted message is not what the case expects."""
    expect, assertion = case["expect"], root.find(f"{{{SAML}}}Assertion")
    name_id = assertion.find(f"{{{SAML}}}Subject/{{{SAML}}}NameID")
    statement = assertion.find(f"{{{SAML}}}AuthnStatement")
    values = {}
    for one in assertion.iter(f"{{{SAML}}}Attribute"):
        texts = [
            v.text or "" for v in one.findall(f"{{{SAML}}}AttributeValue") if v.get(NIL) not in ("true", "1")
        ]
        values.setdefault(one.get("Name"), []).extend(texts)
    loose = set(expect.get("unspecified_attributes", []))
    read_out = {
        "name_id": name_id.text,
        "name_id_format": name_id.get("Format"),
        "session_index": statement.get("SessionIndex"),
        "name_qualifier": name_id.get("NameQualifier"),
        "sp_name_qualifier": name_id.get("SPNameQualifier"),
    }
    for part, value in read_out.items():
        if expect.get(part) != value:
            return part
    if {k: v for k, v in values.items() if v and k not in loose} != {
        k: v for k, v in expect["attributes"].items() if k not in loose
    }:
        return "attributes"
    if ("session_end" in expect) != (statement.get("SessionNotOnOrAfter") is not None):
        return "session_end"
    return None


def check_valid():
    verified, agreed, failed, disagreed = 0, 0, [], []
    for case in CASES:
        if not case["expect"]["accepted"]:
            continue
        data = build_xml(case)
        try:
            root = parse(data)
            outer = verify_signatures(root, IDPS[case["idp"]])
            inner = (0, 0)
            if root.find(f"{{{SAML}}}EncryptedAssertion") is not None:
                root = decrypt_all(root)
                # The signature of the Response covered the ciphertext: only the Assertion's own is asked again.
                inner = verify_signatures(root.find(f"{{{SAML}}}Assertion"), IDPS[case["idp"]])
            # A signature covers EncryptedID and EncryptedAttribute as they came: they are opened after it was verified.
            for inner_name in ("EncryptedID", "EncryptedAttribute"):
                root = decrypt_all(root, inner_name)
            unlike = compare_identity(case, root)
            if outer[1] or inner[1] or not outer[0] + inner[0]:
                failed.append((case["name"], outer, inner))
            elif unlike:
                failed.append((case["name"], unlike))
            elif "field" in case and base64.b64decode((HERE / case["field"]).read_text()) != data:
                failed.append((case["name"], "its field is another message"))
            else:
                verified += 1
        except Exception as error:
            failed.append((case["name"], repr(error)))
        try:
            reason = ask_python3_saml(case, data)
        except Exception as error:
            reason = repr(error)
        if reason is None:
            agreed += 1
        else:
            disagreed.append((case["name"], reason))
    print(
        f"valid: {verified} verified by xmlsec {'.'.join(map(str, xmlsec.get_libxmlsec_version()))}, "
        f"{len(failed)} not; python3-saml agrees on {agreed}, not on {len(disagreed)}"
    )
    for row in failed:
        print("  not verified:", *row)
    for row in disagreed:
        print("  python3-saml differs:", *row)
    return not failed


def build_xml(case):
    """The message of a case, put together where only a recipe is committed; None where that makes the form field."""
    if "generate" not in case:
        return read(case)
    if case["generate"]["target"] != "xml":
        return None
    return "".join(
        x.get("text", x.get("repeat", "") * x.get("times", 0)) for x in case["generate"]["parts"]
    ).encode()


def is_well_formed(data):
    try:
        parse(data)
        return True
    except etree.XMLSyntaxError:
        return False


def judge_signatures(case, data):
    """`all`, `some` or `none` of the signatures verify, those of a decrypted Assertion included."""
    idp = IDPS[case["idp"]]
    root = parse(data)
    good, bad = verify_signatures(root, idp)
    if root.find(f"{{{SAML}}}EncryptedAssertion") is not None:
        root = decrypt_all(root)
        assertion = root.find(f"{{{SAML}}}Assertion")
        if assertion is not None:
            more = verify_signatures(assertion, idp)
            good, bad = good + more[0], bad + more[1]
    return "none" if not good else "some" if bad else "all"


def check_attacks():
    """Each attack has the one fault that its class says: nothing before it may be wrong as well."""
    counts, wrong = Counter(), []
    for case in CASES:
        if case["expect"]["accepted"]:
            continue
        kind = case["expect"]["class"]
        allowed = set(case["expect"].get("classes", [kind]))
        data = build_xml(case)
        counts[kind] += 1
        if data is None or "field" in case or kind == "too_large":
            continue
        well = is_well_formed(data)
        if kind == "malformed" and not allowed & LATE and "sealed" not in case["name"]:
            # UTF-16 and UTF-32 are XML, and refused because we read UTF-8 only; so is what declares another encoding.
            if well and "declar" not in case["name"] and "utf" not in case["name"]:
                wrong.append((case["name"], "is well-formed"))
            continue
        if not well:
            if kind != "forbidden_xml":
                wrong.append((case["name"], "is not well-formed"))
            continue
        if kind in LATE or (kind == "malformed" and allowed & LATE):
            verdict = judge_signatures(case, data)
            if verdict != "all":
                wrong.append((case["name"], f"{verdict} of its signatures verify"))
        if any(
            said in case["why"]
            for said in ("signature stays valid", "rightly signed", "rightly digested and signed")
        ):
            verdict = judge_signatures(case, data)
            if verdict != "all":
                wrong.append((case["name"], f"says that it is signed; {verdict} of its signatures verify"))
        if kind == "signature_invalid":
            verdict = judge_signatures(case, data)
            if verdict == "all":
                wrong.append((case["name"], "all its signatures verify"))
        if kind == "unsigned" and parse(data).find(f".//{{{DS}}}Signature") is not None:
            wrong.append((case["name"], "has a signature"))
        if (
            case.get("base")
            and "after" not in case
            and "late" not in case["name"]
            and "early" not in case["name"]
        ):
            if data == read(next(x for x in CASES if x["name"] == case["base"])):
                wrong.append((case["name"], "is its base"))
    print("attacks:", sum(counts.values()), dict(sorted(counts.items())))
    for row in wrong:
        print("  doubtful:", *row)
    return not wrong


def check_second_opinion():
    """Says which attacks on the profile python3-saml lets through: laxity of its own, or a fault of the corpus."""
    asked, taken = 0, []
    for case in CASES:
        if case["expect"]["accepted"] or case["expect"]["class"] not in LATE - {"replay"}:
            continue
        asked += 1
        try:
            OneLogin_Saml2_Utils.now = staticmethod(lambda now=case["now"]: now // 1000)
            response = OneLogin_Saml2_Response(
                settings_of(IDPS[case["idp"]]), base64.b64encode(build_xml(case)).decode()
            )
            if response.is_valid(REQUEST, case["request_id"]):
                taken.append(case["name"])
        except Exception:
            continue
    print(
        f"python3-saml refuses {asked - len(taken)} of {asked} attacks on the profile; it takes:",
        " ".join(taken),
    )


def read_certificate(path):
    return (HERE / path).read_text()


def check_metadata():
    """Good metadata: by the schema, by python3-saml's reader, and by xmlsec where a key is pinned. Bad: not all of that."""
    failed, agreed, pinned = [], 0, 0
    for case in load("metadata.json"):
        data, expect = read(case), case["expect"]
        if not expect["accepted"]:
            continue
        checked = OneLogin_Saml2_XML.validate_xml(data, "saml-schema-metadata-2.0.xsd")
        # The schema that python3-saml brings does not know the roles of WS-Federation.
        if isinstance(checked, str) and b"RoleDescriptor" not in data:
            failed.append((case["name"], checked))
        read_out = OneLogin_Saml2_IdPMetadataParser.parse(data, entity_id=case["entity_id"])["idp"]
        listed = read_out.get("x509certMulti", {}).get("signing") or [read_out["x509cert"]]
        wanted = [strip_armour(read_certificate(x)) for x in expect["signing_certificates"]]
        second = expect.get("second_certificate_allowed")
        if (listed[:1] if second else listed) != wanted or read_out["entityId"] != case["entity_id"]:
            failed.append((case["name"], "certificates or entity", len(listed)))
        elif (
            "redirect" in expect["sso"]
            and read_out["singleSignOnService"]["url"] != expect["sso"]["redirect"]
        ):
            failed.append((case["name"], read_out["singleSignOnService"]))
        else:
            agreed += 1
        if case["pinned"]:
            pinned += 1
            if verify_signatures(parse(data), {"certificates": [read_certificate(case["pinned"])]}) != (1, 0):
                failed.append((case["name"], "its signature does not verify"))
    bad = [c for c in load("metadata.json") if c["expect"]["accepted"] is False]
    for case in bad:
        if "signature stays valid" in case["why"]:
            if verify_signatures(parse(read(case)), {"certificates": [read_certificate(case["pinned"])]}) != (
                1,
                0,
            ):
                failed.append((case["name"], "its signature does not verify"))
        if case["pinned"] and case["expect"]["classes"] == ["metadata", "signature_invalid"]:
            if verify_signatures(parse(read(case)), {"certificates": [read_certificate(case["pinned"])]})[0]:
                failed.append((case["name"], "its signature verifies"))
    print(
        f"metadata: {agreed} good agreed by schema and python3-saml, {pinned} pinned signatures verified,"
        f" {len(bad)} bad, {len(failed)} doubtful"
    )
    for row in failed:
        print("  doubtful:", *row)
    return not failed


def strip_armour(pem):
    return "".join(x for x in pem.splitlines() if not x.startswith("-----"))


def verify_query(case):
    """Asks OpenSSL, and for RSA python3-saml too, about the signature over the raw query."""
    parts = dict(x.split("=", 1) for x in case["query"].split("&"))
    kind = "SAMLRequest" if "SAMLRequest" in parts else "SAMLResponse"
    signed = "&".join(f"{k}={parts[k]}" for k in (kind, "RelayState", "SigAlg") if k in parts).encode()
    method, value = unquote(parts["SigAlg"]), base64.b64decode(unquote(parts["Signature"]))
    hashed = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(method[-3:])
    if hashed is None or len(parts) != case["query"].count("&") + 1:
        return False
    for pem in IDPS[case["idp"]]["certificates"]:
        public = x509.load_pem_x509_certificate(pem.encode()).public_key()
        try:
            if isinstance(public, rsa.RSAPublicKey):
                public.verify(value, signed, padding.PKCS1v15(), hashed)
            else:
                half = len(value) // 2
                public.verify(
                    encode_dss_signature(*(int.from_bytes(x, "big") for x in (value[:half], value[half:]))),
                    signed,
                    ec.ECDSA(hashed),
                )
            return True
        except (InvalidSignature, ValueError):
            continue
    return False


def ask_python3_saml_logout(case):
    """What python3-saml says of the signature over the raw query of an RSA case."""
    parts = {
        unquote(k): unquote(v.replace("+", " "))
        for k, v in (x.split("=", 1) for x in case["query"].split("&"))
    }
    request = REQUEST | {"get_data": parts, "query_string": case["query"], "validate_signature_from_qs": True}
    auth = OneLogin_Saml2_Auth(request, old_settings=settings_of(IDPS[case["idp"]]))
    return (
        auth.validate_request_signature(request)
        if "SAMLRequest" in parts
        else auth.validate_response_signature(request)
    )


def check_logout():
    failed, counts = [], Counter()
    for case in load("logout.json"):
        expect = case["expect"]
        late = (
            expect["accepted"]
            or expect["class"] in LATE | {"decrypt", "too_large"}
            or "rightly signed" in case["why"]
        )
        if case["binding"] == "post":
            data = read(case)
            if not is_well_formed(data):
                continue
            sound = verify_signatures(parse(data), IDPS[case["idp"]])
            good = sound[0] and not sound[1]
        elif "Signature=" in case["query"] and "SigAlg=" in case["query"]:
            good = verify_query(case)
            if late and IDPS[case["idp"]]["certificates"][0].count("\n") > 15 and "P-256" not in case["why"]:
                try:
                    theirs = ask_python3_saml_logout(case)
                except Exception as error:
                    theirs = repr(error)
                counts["python3-saml agrees" if theirs is True else "python3-saml does not"] += 1
                if theirs is not True:
                    print("  python3-saml differs:", case["name"], theirs)
        else:
            good = None
        if late and good is not True and "login" not in case["name"]:
            failed.append((case["name"], "its signature does not verify"))
        if not expect["accepted"] and expect["class"] == "signature_invalid" and good:
            failed.append((case["name"], "its signature verifies"))
        if expect["accepted"] and case["binding"] == "redirect":
            packed = unquote(case["query"].split("&")[0].split("=", 1)[1])
            data = zlib.decompress(base64.b64decode(packed), -15)
        if expect["accepted"]:
            checked = OneLogin_Saml2_XML.validate_xml(data, "saml-schema-protocol-2.0.xsd")
            if isinstance(checked, str):
                failed.append((case["name"], checked))
        counts["good" if expect["accepted"] else "bad"] += 1
    print("logout:", dict(counts), len(failed), "doubtful")
    for row in failed:
        print("  doubtful:", *row)
    return not failed


def main():
    sound = check_valid() & check_attacks() & check_metadata() & check_logout()
    check_second_opinion()
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
