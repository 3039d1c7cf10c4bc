#!/usr/bin/env python3
"""Judges SAML messages of ours by libraries that others wrote, and writes messages of an identity provider for us.

    peers.py FOLDER

FOLDER holds `ours.json` (who is who, and our messages) and `sp_metadata.xml`. Each judgement is a line; the first that
fails ends the run with code 1. `theirs.json` is written into FOLDER: metadata and logout messages of pysaml2.

pysaml2 is the identity provider: it loads our metadata and takes our requests and answers. python3-saml validates them
against the schemas of OASIS, and reads the logout messages once more. libxmlsec1 verifies what is signed in a form.
"""

import base64
import json
import shutil
import sys
import zlib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import xmlsec
from lxml import etree
from onelogin.saml2.logout_request import OneLogin_Saml2_Logout_Request
from onelogin.saml2.logout_response import OneLogin_Saml2_Logout_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.metadata import create_metadata_string
from saml2.saml import NameID
from saml2.server import Server

FOLDER = Path(sys.argv[1])
OURS = json.loads((FOLDER / "ours.json").read_text())
IDP, SP = OURS["idp"], OURS["sp"]
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
# pysaml2 signs by SHA-1 unless it is told.
METHODS = {"sign_alg": RSA_SHA256, "digest_alg": "http://www.w3.org/2001/04/xmlenc#sha256"}
BINDINGS = {"redirect": BINDING_HTTP_REDIRECT, "post": BINDING_HTTP_POST}


def say(name, what):
    print(f"{name}: {what}", flush=True)


def expect(name, what, is_so, why=""):
    if not is_so:
        say(name, f"NOT {what} {why}")
        sys.exit(1)
    say(name, what)


def idp_config():
    endpoints = {
        "single_sign_on_service": [(IDP["sso"], binding) for binding in BINDINGS.values()],
        "single_logout_service": [(IDP["slo"], binding) for binding in BINDINGS.values()],
    }
    config = IdPConfig()
    config.load(
        {
            "entityid": IDP["entity_id"],
            "service": {"idp": {"endpoints": endpoints, "want_authn_requests_signed": True}},
            "key_file": IDP["key_file"],
            "cert_file": IDP["certificate_file"],
            "metadata": {"local": [str(FOLDER / "sp_metadata.xml")]},
            "xmlsec_binary": shutil.which("xmlsec1"),
        }
    )
    return config


SERVER = Server(config=idp_config())


def judge_metadata():
    text = (FOLDER / "sp_metadata.xml").read_bytes()
    fault = OneLogin_Saml2_XML.validate_xml(text, "saml-schema-metadata-2.0.xsd")
    expect("sp_metadata", "valid against the schema", not isinstance(fault, str), fault)
    store, entity = SERVER.metadata, SP["entity_id"]
    acs = store.assertion_consumer_service(entity, BINDING_HTTP_POST)
    expect("sp_metadata", "ACS found", [service["location"] for service in acs] == [SP["acs"]], acs)
    for word, binding in BINDINGS.items():
        slo = [service["location"] for service in store.single_logout_service(entity, binding, "spsso")]
        expect("sp_metadata", f"SLO by {word} found", slo == [SP["slo"]], slo)
    for use in ("signing", "encryption"):
        certificates = [text.replace("\n", "") for _, text in store.certs(entity, "spsso", use)]
        expect("sp_metadata", f"keys for {use} found", certificates == SP[use], certificates)


def read_query(url):
    """The parameters by their names, and the octets that were signed."""
    query = urlsplit(url).query
    raw = dict(pair.split("=", 1) for pair in query.split("&"))
    names = [name for name in ("SAMLRequest", "SAMLResponse", "RelayState", "SigAlg") if name in raw]
    signed = "&".join(f"{name}={raw[name]}" for name in names)
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}, signed


def judge_schema(message, text):
    fault = OneLogin_Saml2_XML.validate_xml(text, "saml-schema-protocol-2.0.xsd")
    expect(message["name"], "valid against the schema", not isinstance(fault, str), fault)


def judge_query(message):
    """A URL: schema, signature, and what the identity provider reads in it."""
    got, signed = read_query(message["url"])
    field = got.get("SAMLRequest") or got["SAMLResponse"]
    judge_schema(message, zlib.decompress(base64.b64decode(field), -15))
    signature = base64.b64decode(got["Signature"])
    certificate = SP["certificate_pem"]
    is_right = OneLogin_Saml2_Utils.validate_binary_sign(signed, signature, certificate, got["SigAlg"])
    expect(message["name"], "signature over the octets of the query", is_right)
    expect(message["name"], "RelayState", got.get("RelayState") == message["relay_state"], got)
    names = {"relay_state": "RelayState", "sigalg": "SigAlg", "signature": "Signature"}
    return field, {key: got[name] for key, name in names.items() if name in got}


def judge_form(message):
    """A form: schema, signature by libxmlsec1, and what the identity provider reads in it."""
    fields = message["fields"]
    field = fields.get("SAMLRequest") or fields["SAMLResponse"]
    text = base64.b64decode(field)
    judge_schema(message, text)
    root = etree.fromstring(text)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(SP["certificate_pem"], xmlsec.constants.KeyDataFormatCertPem)
    try:
        context.verify(xmlsec.tree.find_node(root, "Signature"))
    except xmlsec.Error as fault:
        expect(message["name"], "signature of the message", False, fault)
    say(message["name"], "signature of the message")
    return field, {}


def judge_by_idp(message, field, signed):
    """Lets pysaml2 as the identity provider take it, and gives a request as it was read."""
    binding, name = BINDINGS[message["binding"]], message["name"]
    if message["kind"] == "LogoutResponse":
        SERVER.config.context = "idp"
        response = SERVER.parse_logout_request_response(field, binding)
        expect(name, "taken by pysaml2", response is not None and response.status_ok())
        expect(name, "its request", response.response.in_response_to == message["in_response_to"])
        return None
    parse = SERVER.parse_authn_request if message["kind"] == "AuthnRequest" else SERVER.parse_logout_request
    request = parse(field, binding, **signed)
    expect(name, "taken by pysaml2", request is not None and request.message.id == message["id"], request)
    if message["kind"] == "AuthnRequest":
        expect(name, "ACS", SERVER.response_args(request.message)["destination"] == SP["acs"])
        expect(name, "ForceAuthn", request.message.force_authn == "true")
    else:
        expect(name, "NameID", request.message.name_id.text == message["name_id"])
        sessions = [index.text for index in request.message.session_index]
        expect(name, "sessions", sessions == message["sessions"], sessions)
    return request.message


def judge_by_relying_party(message):
    """What python3-saml makes of a logout message in a query, with the roles exchanged."""
    got, _ = read_query(message["url"])
    address = urlsplit(IDP["slo"])
    request = {"https": "on", "http_host": address.netloc, "script_name": address.path, "get_data": got}
    settings = OneLogin_Saml2_Settings(
        {
            "strict": True,
            "security": {"wantMessagesSigned": True, "rejectDeprecatedAlgorithm": True},
            "sp": {
                "entityId": IDP["entity_id"],
                "assertionConsumerService": {"url": IDP["sso"]},
                "singleLogoutService": {"url": IDP["slo"]},
            },
            "idp": {
                "entityId": SP["entity_id"],
                "singleSignOnService": {"url": SP["acs"]},
                "x509cert": SP["signing"][0],
            },
        }
    )
    if message["kind"] == "LogoutRequest":
        read = OneLogin_Saml2_Logout_Request(settings, got["SAMLRequest"])
        is_right = read.is_valid(request)
    else:
        read = OneLogin_Saml2_Logout_Response(settings, got["SAMLResponse"])
        is_right = read.is_valid(request, message["in_response_to"]) and read.get_status().endswith(":Success")
    expect(message["name"], "taken by python3-saml", is_right, read.get_error())


def write_theirs(asked):
    """Metadata, logout requests and answers to the request `asked`, as pysaml2 writes them."""
    SERVER.config.context = "idp"
    name_id = NameID(format=OURS["name_id"]["format"], text=OURS["name_id"]["value"])
    relay_state = "their state/+&="
    theirs = {"metadata": create_metadata_string(None, config=idp_config()).decode(), "messages": []}
    for word, binding in BINDINGS.items():
        _, request = SERVER.create_logout_request(
            SP["slo"],
            SP["entity_id"],
            name_id=name_id,
            session_indexes=["s1", "s2"],
            sign=word == "post",
            **METHODS,
        )
        response = SERVER.create_logout_response(asked, [binding], sign=word == "post", **METHODS)
        for kind, message in (("LogoutRequest", request), ("LogoutResponse", response)):
            is_response = kind == "LogoutResponse"
            sent = SERVER.apply_binding(
                binding,
                str(message),
                SP["slo"],
                relay_state,
                response=is_response,
                sign=word == "redirect",
                sigalg=RSA_SHA256,
            )
            row = {"kind": kind, "binding": word, "relay_state": relay_state}
            if word == "redirect":
                row["url"] = dict(sent["headers"])["Location"]
            else:
                row["field"] = base64.b64encode(str(message).encode()).decode()
            theirs["messages"].append(row)
    (FOLDER / "theirs.json").write_text(json.dumps(theirs))


judge_metadata()
last_logout = None
for ours in OURS["messages"]:
    found, signature_of = judge_query(ours) if ours["binding"] == "redirect" else judge_form(ours)
    request = judge_by_idp(ours, found, signature_of)
    if ours["binding"] == "redirect" and ours["kind"] != "AuthnRequest":
        judge_by_relying_party(ours)
    if ours["kind"] == "LogoutRequest":
        last_logout = request
write_theirs(last_logout)
say("all", "judged")
