"""Single logout: LogoutRequest and LogoutResponse by Redirect (the raw query) and by POST (an enveloped signature)."""

import zlib
from urllib.parse import quote, unquote

from . import message as m
from . import sign as s
from .case import IDPS
from .encrypt import encrypt_element

CASES = {}
SENT = "_5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d"
VICTIM = "root@example.test"


def split_percent(text):
    out, at = [""], 0
    while at < len(text):
        step = 3 if text[at] == "%" else 1
        out.append(text[at : at + step])
        at += step
    return out


def lower_percent(text):
    """Percent-encoding as AD FS writes it: lower-case hexadecimal digits."""
    return "".join(x.lower() if x.startswith("%") else x for x in split_percent(quote(text, safe="")))


def upper_percent(text):
    return quote(text, safe="")


def make_request(
    name,
    *,
    wanted=None,
    version="2.0",
    issued=m.at(-2),
    destination=m.SLO,
    issuer=m.IDP_ENTITY,
    expires=None,
    name_id="alice@example.test",
    name_id_format=m.EMAIL,
    qualifiers="",
    raw_name_id=None,
    sessions=("_session-4711",),
    extra="",
    reason=None,
):
    wanted = wanted or m.make_id(name, "logout")
    name_text = (
        f"<saml:NameID{m.attribute('Format', name_id_format)}{qualifiers}>{name_id}</saml:NameID>"
        if raw_name_id is None
        else raw_name_id
    )
    return (
        f'<samlp:LogoutRequest xmlns:samlp="{m.SAMLP}" xmlns:saml="{m.SAML}"'
        f' ID="{wanted}"{m.attribute("Version", version)}{m.attribute("IssueInstant", issued)}'
        f"{m.attribute('Destination', destination)}{m.attribute('NotOnOrAfter', expires)}{m.attribute('Reason', reason)}>"
        + (f"<saml:Issuer>{issuer}</saml:Issuer>" if issuer is not None else "")
        + s.slot(wanted)
        + extra
        + name_text
        + "".join(f"<samlp:SessionIndex>{x}</samlp:SessionIndex>" for x in sessions)
        + "</samlp:LogoutRequest>"
    )


def make_response(
    name,
    *,
    wanted=None,
    version="2.0",
    issued=m.at(-2),
    destination=m.SLO,
    issuer=m.IDP_ENTITY,
    in_response_to=SENT,
    status=m.SUCCESS,
    raw_status=None,
):
    wanted = wanted or m.make_id(name, "logout")
    status_text = (
        f'<samlp:Status><samlp:StatusCode Value="{status}"/></samlp:Status>'
        if raw_status is None
        else raw_status
    )
    return (
        f'<samlp:LogoutResponse xmlns:samlp="{m.SAMLP}" xmlns:saml="{m.SAML}"'
        f' ID="{wanted}"{m.attribute("Version", version)}{m.attribute("IssueInstant", issued)}'
        f"{m.attribute('Destination', destination)}{m.attribute('InResponseTo', in_response_to)}>"
        + (f"<saml:Issuer>{issuer}</saml:Issuer>" if issuer is not None else "")
        + s.slot(wanted)
        + status_text
        + "</samlp:LogoutResponse>"
    )


def deflate(xml):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(xml.encode() if isinstance(xml, str) else xml) + packer.flush()


def bare(xml):
    start = xml.find("[[sign:")
    return xml if start < 0 else xml[:start] + xml[xml.index("]]", start) + 2 :]


def make_query(
    xml,
    kind="request",
    *,
    relay=None,
    key="idp-rsa2048",
    digest="sha256",
    method=None,
    escape=upper_percent,
    packed=None,
    edit_signed=None,
    raw=None,
    signed=True,
    order=None,
):
    """A query whose signature covers the very octets that it has; `edit_signed` bends what is signed, `order` its order."""
    parts = {"SAML" + kind.capitalize(): escape(s.encode(deflate(bare(xml)) if packed is None else packed))}
    if relay is not None:
        parts["RelayState"] = escape(relay)
    if not signed:
        return "&".join(f"{k}={v}" for k, v in parts.items())
    parts["SigAlg"] = escape(method or s.method_of(key, digest))
    names = order or list(parts)
    text = "&".join(f"{k}={parts[k]}" for k in names)
    octets = (edit_signed(text) if edit_signed else text).encode()
    value = raw(octets) if raw else s.sign_octets(key, digest, octets)
    return text + "&Signature=" + escape(s.encode(value))


def add(
    name,
    why,
    kind,
    binding,
    expect,
    *,
    query=None,
    xml=None,
    idp="acme",
    now=0,
    request_id=None,
    relay=None,
    after=None,
):
    assert name not in CASES, name
    row = {"name": name, "kind": kind, "binding": binding}
    data = None
    if query is not None:
        row["query"] = query
    else:
        row["file"] = f"logout/{name}.xml"
        data = xml.encode()
        if relay is not None:
            row["relay_state"] = relay
    row |= {"now": m.at_ms(now), "idp": idp, "request_id": request_id}
    if after:
        row["after"] = after
    CASES[name] = (data, row | {"expect": expect, "why": why})


def asked(
    name,
    *,
    relay=None,
    name_id="alice@example.test",
    name_id_format=m.EMAIL,
    sessions=("_session-4711",),
    wanted=None,
    **more,
):
    return {
        "accepted": True,
        "id": wanted or m.make_id(name, "logout"),
        "name_id": name_id,
        "name_id_format": name_id_format,
        "session_indexes": list(sessions),
        "relay_state": relay,
    } | more


def refused(kind, also=()):
    return {"accepted": False, "class": kind} | ({"classes": [kind, *also]} if also else {})


def good_request(name, why, *, relay=None, query=None, idp="acme", expect=None, key="idp-rsa2048", **fields):
    issuer = IDPS[idp][0]
    xml = make_request(name, issuer=issuer, **fields)
    shown = {k: fields[k] for k in ("name_id", "name_id_format", "sessions") if k in fields}
    add(
        name,
        why,
        "request",
        "redirect",
        asked(name, relay=relay, **shown, **(expect or {})),
        query=make_query(xml, relay=relay, key=key, **(query or {})),
        idp=idp,
    )
    return xml


def good_post(name, why, *, how=None, expect=None, relay=None, **fields):
    xml = make_request(name, **fields)
    wanted = m.make_id(name, "logout")
    shown = {k: fields[k] for k in ("name_id", "name_id_format", "sessions") if k in fields}
    add(
        name,
        why,
        "request",
        "post",
        asked(name, relay=relay, **shown, **(expect or {})),
        xml=s.sign(xml, wanted, **(how or {})),
        relay=relay,
    )


def add_good():
    good_request("redirect-request", "LogoutRequest by Redirect, RSA-SHA256.")
    good_request("redirect-request-relay-state", "With RelayState.", relay="/after?x=1&y=ü z")
    good_request(
        "redirect-request-lower-hex",
        "Percent-encoding in lower-case hexadecimal, as AD FS writes; signed as it is.",
        relay="https://x/?a=b",
        query={"escape": lower_percent},
    )
    good_request(
        "redirect-request-plus",
        "RelayState's blank is a plus sign; signed as it is.",
        relay="a b",
        query={"escape": lambda x: quote(x, safe=" ").replace(" ", "+") if x == "a b" else quote(x, safe="")},
    )
    good_request(
        "redirect-request-less-escaped",
        "Slashes are not percent-encoded; signed as it is.",
        query={"escape": lambda x: quote(x, safe="/:")},
    )
    for digest in ("sha384", "sha512"):
        good_request(f"redirect-request-{digest}", f"RSA with {digest}.", query={"digest": digest})
    good_request("redirect-request-p256", "ECDSA on P-256, r and s side by side.", key="idp-p256", idp="p256")
    good_request(
        "redirect-request-second-key",
        "Signed by the second of two keys.",
        key="idp-rsa2048-next",
        idp="rotating",
    )
    good_request("redirect-request-empty-relay-state", "RelayState is there and empty, and signed.", relay="")
    good_request("redirect-request-no-session", "No SessionIndex: all sessions of the NameID.", sessions=())
    good_request(
        "redirect-request-three-sessions",
        "Three SessionIndexes.",
        sessions=("_session-4711", "_session-4712", "s&amp;3"),
        expect={"session_indexes": ["_session-4711", "_session-4712", "s&3"]},
    )
    good_request(
        "redirect-request-not-on-or-after",
        "NotOnOrAfter five minutes ahead, and a Reason.",
        expires=m.at(300),
        reason="urn:oasis:names:tc:SAML:2.0:logout:user",
    )
    good_request(
        "redirect-request-persistent",
        "A persistent NameID with both qualifiers.",
        name_id="G7x9",
        name_id_format=m.PERSISTENT,
        qualifiers=f' NameQualifier="{m.IDP_ENTITY}" SPNameQualifier="{m.SP_ENTITY}"',
        expect={"name_qualifier": m.IDP_ENTITY, "sp_name_qualifier": m.SP_ENTITY},
    )
    plain = f'<saml:NameID xmlns:saml="{m.SAML}" Format="{m.EMAIL}">alice@example.test</saml:NameID>'
    good_request(
        "redirect-request-encrypted-id",
        "EncryptedID instead of NameID.",
        raw_name_id=(
            f"<saml:EncryptedID>{encrypt_element(plain, 'redirect-request-encrypted-id')}</saml:EncryptedID>"
        ),
    )
    good_request("redirect-request-skew", "Issued 179 s ahead by the IdP's clock.", issued=m.at(179))
    good_post("post-request", "LogoutRequest by POST with an enveloped signature.")
    good_post("post-request-relay-state", "With RelayState, which nothing signs.", relay="token-1")
    good_post(
        "post-request-key-info",
        "KeyInfo has the certificate.",
        how={"key_info": s.x509_key_info("idp-rsa2048")},
    )
    good_post("post-request-two-sessions", "Two SessionIndexes.", sessions=("_session-4711", "_session-4712"))
    for binding in ("redirect", "post"):
        name = f"{binding}-response"
        xml = make_response(name)
        expect = {"accepted": True, "in_response_to": SENT, "relay_state": None}
        if binding == "redirect":
            add(
                name,
                "LogoutResponse by Redirect.",
                "response",
                binding,
                expect,
                query=make_query(xml, "response"),
                request_id=SENT,
            )
        else:
            add(
                name,
                "LogoutResponse by POST.",
                "response",
                binding,
                expect,
                xml=s.sign(xml, m.make_id(name, "logout")),
                request_id=SENT,
            )
    name = "redirect-response-lower-hex"
    add(
        name,
        "LogoutResponse by Redirect with lower-case hexadecimal.",
        "response",
        "redirect",
        {"accepted": True, "in_response_to": SENT, "relay_state": "r=1"},
        query=make_query(make_response(name), "response", relay="r=1", escape=lower_percent),
        request_id=SENT,
    )


def bad_query(name, kind, why, query, also=(), what="request", **rest):
    add(name, why, what, "redirect", refused(kind, also), query=query, **rest)


def add_bad_queries():
    xml = make_request("q", wanted="_q1")
    good = make_query(xml, relay="/a")
    saml, relay, method, value = good.split("&")
    bad_query(
        "redirect-unsigned",
        "unsigned",
        "Neither SigAlg nor Signature.",
        make_query(xml, relay="/a", signed=False),
    )
    bad_query(
        "redirect-no-signature",
        "unsigned",
        "SigAlg without Signature.",
        "&".join((saml, relay, method)),
        ["malformed", "signature_policy", "structure"],
    )
    bad_query(
        "redirect-no-sig-alg",
        "signature_policy",
        "Signature without SigAlg.",
        "&".join((saml, relay, value)),
        ["malformed", "structure", "unsigned"],
    )
    bad_query(
        "redirect-empty-signature",
        "unsigned",
        "Signature is empty.",
        "&".join((saml, relay, method, "Signature=")),
        ["malformed", "signature_invalid", "signature_policy"],
    )
    other = make_query(make_request("q2", wanted="_q2", name_id=VICTIM), relay="/a").split("&")[0]
    for name, listed in (
        ("message-first", (other, saml, relay, method, value)),
        ("message-last", (saml, relay, method, value, other)),
        ("relay-state", (saml, relay, "RelayState=%2Fb", method, value)),
        ("sig-alg", (saml, relay, method, method, value)),
        ("signature", (saml, relay, method, value, value)),
    ):
        bad_query(
            f"redirect-twice-{name}",
            "structure",
            f"A parameter stands twice: {name.replace('-', ' ')}.",
            "&".join(listed),
            ["malformed", "signature_invalid"],
        )
    bad_query(
        "redirect-request-and-response",
        "structure",
        "SAMLRequest and SAMLResponse in one query.",
        make_query(make_response("q3", wanted="_q3"), "response").split("&")[0] + "&" + good,
        ["malformed", "signature_invalid"],
    )
    bad_query(
        "redirect-name-percent-encoded",
        "structure",
        "A second SAMLRequest with a percent-encoded name.",
        other.replace("SAMLRequest", "SAML%52equest") + "&" + good,
        ["malformed", "signature_invalid"],
    )
    bad_query(
        "redirect-order-signed",
        "signature_invalid",
        "RelayState was signed before SAMLRequest.",
        make_query(
            xml,
            relay="/a",
            edit_signed=lambda x: "&".join((x.split("&")[1], x.split("&")[0], x.split("&")[2])),
        ),
    )
    bad_query(
        "redirect-order-both",
        "signature_invalid",
        "The query has RelayState first, and was signed so.",
        make_query(xml, relay="/a", order=["RelayState", "SAMLRequest", "SigAlg"]),
        ["structure", "malformed"],
    )
    bad_query(
        "redirect-re-encoded",
        "signature_invalid",
        "Signed in lower-case hexadecimal, sent in upper-case.",
        upper_hex_of(make_query(xml, relay="/a?b", escape=lower_percent)),
    )
    bad_query(
        "redirect-re-encoded-lower",
        "signature_invalid",
        "Signed in upper-case hexadecimal, sent in lower-case.",
        lower_hex_of(make_query(xml, relay="/a?b")),
    )
    bad_query(
        "redirect-plus-for-percent",
        "signature_invalid",
        "Signed with %20, sent with a plus sign.",
        make_query(xml, relay="a b").replace("a%20b", "a+b"),
    )
    bad_query(
        "redirect-relay-state-added",
        "signature_invalid",
        "RelayState was added after signing.",
        add_relay(make_query(xml), "%2Fevil"),
    )
    bad_query(
        "redirect-relay-state-removed",
        "signature_invalid",
        "RelayState was taken out after signing.",
        "&".join((saml, method, value)),
    )
    bad_query(
        "redirect-relay-state-changed",
        "signature_invalid",
        "RelayState was changed after signing.",
        good.replace("RelayState=%2Fa", "RelayState=%2Fb"),
    )
    bad_query(
        "redirect-relay-state-empty-added",
        "signature_invalid",
        "An empty RelayState was added after signing.",
        add_relay(make_query(xml), ""),
    )
    bad_query(
        "redirect-message-changed",
        "signature_invalid",
        "The message is another one, with the old Signature.",
        "&".join((other, relay, method, value)),
    )
    bad_query(
        "redirect-other-key",
        "signature_invalid",
        "Signed by the attacker.",
        make_query(xml, key="attacker-rsa2048"),
    )
    bad_query(
        "redirect-other-idp-key",
        "signature_invalid",
        "Signed by another IdP.",
        make_query(xml, key="other-idp-rsa2048"),
    )
    bad_query(
        "redirect-signature-bit",
        "signature_invalid",
        "One letter of Signature is changed.",
        make_query(xml, raw=lambda octets: flip(s.sign_octets("idp-rsa2048", "sha256", octets))),
    )
    bad_query(
        "redirect-signature-not-base64",
        "signature_invalid",
        "Signature is not base64.",
        "&".join((saml, relay, method, "Signature=%21%21")),
        ["malformed", "signature_policy"],
    )
    bad_query(
        "redirect-xml-digest-as-signature",
        "signature_invalid",
        "Signed over the decoded values instead of the raw query.",
        make_query(xml, relay="/a", edit_signed=lambda x: unquote(x)),
    )
    bad_query("redirect-sha1", "signature_policy", "RSA-SHA1.", make_query(xml, digest="sha1"))
    bad_query("redirect-md5", "signature_policy", "RSA-MD5.", make_query(xml, digest="md5"))
    spki = s.public_forms("idp-rsa2048")["spki-der"]
    bad_query(
        "redirect-hmac",
        "signature_policy",
        "HMAC-SHA256 keyed with the IdP's SubjectPublicKeyInfo.",
        make_query(
            xml, method=s.MORE + "hmac-sha256", raw=lambda octets: s.hmac_octets(spki, "sha256", octets)
        ),
    )
    bad_query(
        "redirect-method-none",
        "signature_policy",
        "SigAlg is none.",
        make_query(xml, method="none", raw=lambda octets: b"x"),
    )
    bad_query(
        "redirect-method-ec-at-rsa-idp",
        "signature_invalid",
        "ECDSA with r = s = 0, at an IdP with an RSA key.",
        make_query(xml, method=s.EC_METHODS["sha256"], raw=lambda octets: bytes(64)),
        ["signature_policy"],
    )
    own = make_request("redirect-psychic", issuer=m.IDP_ENTITY)
    bad_query(
        "redirect-psychic",
        "signature_invalid",
        "ECDSA with r = s = 0, at an IdP with an EC key.",
        make_query(own, key="idp-p256", raw=lambda octets: bytes(64)),
        idp="p256",
    )
    bomb = make_request(
        "bomb", wanted="_bomb", extra="<samlp:Extensions>" + " " * 8_000_000 + "</samlp:Extensions>"
    )
    bad_query(
        "redirect-bomb", "too_large", "8 MB of blanks, deflated to 8 kB, rightly signed.", make_query(bomb)
    )
    bad_query(
        "redirect-deflate-broken",
        "malformed",
        "The deflated octets are spoiled, rightly signed.",
        make_query(xml, packed=b"\xff" + deflate(bare(xml))[1:]),
    )
    bad_query(
        "redirect-deflate-cut",
        "malformed",
        "The deflated octets end early, rightly signed.",
        make_query(xml, packed=deflate(bare(xml))[:-20]),
    )
    bad_query(
        "redirect-zlib",
        "malformed",
        "The message is in zlib's format instead of bare deflate, rightly signed.",
        make_query(xml, packed=zlib.compress(bare(xml).encode())),
    )
    bad_query(
        "redirect-not-deflated",
        "malformed",
        "The message is not deflated, rightly signed.",
        make_query(xml, packed=bare(xml).encode()),
    )
    bad_query(
        "redirect-trailing",
        "malformed",
        "Octets follow the deflated message, rightly signed.",
        make_query(xml, packed=deflate(bare(xml)) + b"junk"),
    )
    bad_query(
        "redirect-empty",
        "malformed",
        "SAMLRequest is empty, rightly signed.",
        make_query(xml, packed=b""),
        ["structure"],
    )
    bad_query(
        "redirect-bad-percent",
        "malformed",
        "A percent sign without two digits.",
        good.replace("RelayState=%2Fa", "RelayState=%2"),
        ["signature_invalid", "structure"],
    )
    bad_query(
        "redirect-doctype",
        "forbidden_xml",
        "A DOCTYPE in the message, rightly signed.",
        make_query("<!DOCTYPE r>" + bare(xml)),
    )
    bad_query(
        "redirect-comment",
        "forbidden_xml",
        "A comment in the NameID, rightly signed.",
        make_query(bare(make_request("c", wanted="_c1", name_id="root<!---->@example.test"))),
    )
    bad_query(
        "redirect-xml-signed-only",
        "unsigned",
        "The message has an enveloped signature and the query none.",
        make_query(s.sign(make_request("x1", wanted="_x1"), "_x1"), signed=False),
        ["structure", "signature_policy"],
    )
    bad_query(
        "redirect-login-response",
        "structure",
        "A login Response, rightly signed, at the logout address.",
        make_query(m.fill(m.Message("lr")), "response"),
        what="response",
        request_id=SENT,
    )
    bad_query(
        "redirect-request-as-response",
        "structure",
        "A LogoutRequest in SAMLResponse, rightly signed.",
        make_query(xml, "response"),
        what="response",
        request_id=SENT,
    )
    bad_query(
        "redirect-encoding-other",
        "malformed",
        "SAMLEncoding names another encoding than deflate.",
        good + "&SAMLEncoding=urn%3Aexample%3Arot13",
        ["structure", "signature_policy", "signature_invalid"],
    )


def flip(octets):
    return bytes([octets[0] ^ 1]) + octets[1:]


def upper_hex_of(query):
    return "".join(x.upper() if x.startswith("%") else x for x in split_percent(query))


def lower_hex_of(query):
    return "".join(x.lower() if x.startswith("%") else x for x in split_percent(query))


def add_relay(query, text):
    first, rest = query.split("&", 1)
    return f"{first}&RelayState={text}&{rest}"


def profile_faults():
    """name: (class, why, fields, others): wrong messages that a genuine key signed, for both bindings."""
    idp, day = m.IDP_ENTITY, 86_400
    return {
        "issuer-other": ("issuer", "Issuer is another IdP.", {"issuer": m.OTHER_IDP_ENTITY}, ()),
        "issuer-slash": ("issuer", "Issuer has a slash behind.", {"issuer": idp + "/"}, ()),
        "issuer-absent": ("issuer", "There is no Issuer.", {"issuer": None}, ("structure",)),
        "destination-other": (
            "destination",
            "Destination is another service.",
            {"destination": "https://other-app.example.test/slo"},
            (),
        ),
        "destination-acs": ("destination", "Destination is our ACS URL.", {"destination": m.ACS}, ()),
        "destination-absent": (
            "destination",
            "A signed message without Destination.",
            {"destination": None},
            (),
        ),
        "issued-day-ago": ("expired", "IssueInstant was a day ago.", {"issued": m.at(-day)}, ()),
        "issued-day-ahead": ("not_yet_valid", "IssueInstant is a day ahead.", {"issued": m.at(day)}, ()),
        "version": ("version", "Version is 1.1.", {"version": "1.1"}, ()),
    }


def add_bad_requests():
    faults = profile_faults() | {
        "expired": ("expired", "NotOnOrAfter was an hour ago.", {"expires": m.at(-3600)}, ()),
        "name-id-absent": ("subject", "There is no NameID.", {"raw_name_id": ""}, ("structure",)),
        "name-id-blank": ("subject", "The NameID is blank.", {"name_id": " "}, ()),
        "name-id-twice": (
            "subject",
            "Two NameIDs.",
            {"raw_name_id": "<saml:NameID>alice</saml:NameID><saml:NameID>root</saml:NameID>"},
            ("structure",),
        ),
        "encrypted-id-foreign": (
            "decrypt",
            "The EncryptedID is for another service.",
            {
                "raw_name_id": (
                    "<saml:EncryptedID>"
                    + encrypt_element(
                        f'<saml:NameID xmlns:saml="{m.SAML}">alice</saml:NameID>',
                        "encrypted-id-foreign",
                        recipient="sp-foreign",
                    )
                    + "</saml:EncryptedID>"
                )
            },
            (),
        ),
    }
    for name, (kind, why, fields, also) in faults.items():
        full = f"redirect-request-{name}"
        bad_query(full, kind, why, make_query(make_request(full, **fields)), also)
        if name in ("issuer-other", "destination-absent", "expired", "name-id-absent"):
            full = f"post-request-{name}"
            add(
                full,
                why,
                "request",
                "post",
                refused(kind, also),
                xml=s.sign(make_request(full, **fields), m.make_id(full, "logout")),
            )
    bad_query(
        "redirect-replay",
        "replay",
        "The query of redirect-request, a second time.",
        CASES["redirect-request"][1]["query"],
        after="redirect-request",
    )
    add(
        "post-replay",
        "The message of post-request, a second time.",
        "request",
        "post",
        refused("replay"),
        xml=CASES["post-request"][0].decode(),
        after="post-request",
    )


def add_bad_responses():
    faults = profile_faults() | {
        "other-request": ("in_response_to", "It answers another request.", {"in_response_to": "_other"}, ()),
        "no-request": ("in_response_to", "It has no InResponseTo.", {"in_response_to": None}, ("structure",)),
        "status-responder": (
            "status",
            "The IdP could not log out.",
            {"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"},
            (),
        ),
        "status-absent": ("status", "There is no Status.", {"raw_status": ""}, ("structure",)),
    }
    for name, (kind, why, fields, also) in faults.items():
        full = f"redirect-response-{name}"
        bad_query(
            full,
            kind,
            why,
            make_query(make_response(full, **fields), "response"),
            also,
            what="response",
            request_id=SENT,
        )
    bad_query(
        "redirect-response-none-pending",
        "in_response_to",
        "No logout of ours is pending.",
        make_query(make_response("redirect-response-none-pending"), "response"),
        what="response",
        request_id=None,
    )
    bad_query(
        "redirect-response-unsigned",
        "unsigned",
        "A LogoutResponse without signature.",
        make_query(make_response("redirect-response-unsigned"), "response", signed=False),
        what="response",
        request_id=SENT,
    )


def add_bad_posts():
    text = make_request("p", wanted="_p1")
    signed = s.sign(text, "_p1")
    signature = signed[
        signed.index("<ds:Signature") : signed.index("</ds:Signature>") + len("</ds:Signature>")
    ]
    evil = bare(make_request("p2", wanted="_p2", name_id=VICTIM))

    def put(name, kind, why, xml, also=()):
        add(f"post-{name}", why, "request", "post", refused(kind, also), xml=xml)

    put("unsigned", "unsigned", "A LogoutRequest without signature.", bare(text))
    put("stripped", "unsigned", "The Signature was taken out.", signed.replace(signature, ""))
    put(
        "tampered",
        "signature_invalid",
        "The NameID was changed after signing.",
        signed.replace("alice@", "root@"),
    )
    put(
        "session-added",
        "signature_invalid",
        "A SessionIndex was added after signing.",
        signed.replace(
            "</samlp:LogoutRequest>", "<samlp:SessionIndex>_x</samlp:SessionIndex></samlp:LogoutRequest>"
        ),
    )
    put(
        "attacker-key",
        "signature_invalid",
        "Signed by the attacker, with the attacker's certificate.",
        s.sign(text, "_p1", "attacker-rsa2048", key_info=s.x509_key_info("attacker-rsa2048")),
    )
    put(
        "other-idp-key",
        "signature_invalid",
        "Signed by another IdP.",
        s.sign(text, "_p1", "other-idp-rsa2048"),
    )
    put("sha1", "signature_policy", "Signed with RSA-SHA1.", s.sign(text, "_p1", digest="sha1"))
    put(
        "hmac",
        "signature_policy",
        "HMAC keyed with the IdP's certificate.",
        s.sign(
            text,
            "_p1",
            method=s.MORE + "hmac-sha256",
            raw=lambda octets: s.hmac_octets(
                s.public_forms("idp-rsa2048")["certificate-pem"], "sha256", octets
            ),
        ),
    )
    put(
        "empty-signature",
        "signature_policy",
        "The Signature is an empty element.",
        text.replace(s.slot("_p1"), f'<ds:Signature xmlns:ds="{s.DS}"/>'),
    )
    put(
        "wrapped-extensions",
        "structure",
        "The signed LogoutRequest lies in Extensions of a forged one.",
        evil.replace("<saml:NameID", f"<samlp:Extensions>{signed}</samlp:Extensions><saml:NameID", 1),
    )
    put(
        "wrapped-in-signature",
        "structure",
        "The Signature is in a forged LogoutRequest and holds the original.",
        evil.replace(
            "</saml:Issuer>",
            "</saml:Issuer>"
            + signature.replace("</ds:Signature>", f"<ds:Object>{bare(text)}</ds:Object></ds:Signature>"),
            1,
        ),
        ["signature_policy"],
    )
    put(
        "wrapped-same-id",
        "structure",
        "A forged LogoutRequest of the same ID has the signed one as its child.",
        evil.replace('ID="_p2"', 'ID="_p1"').replace(
            "</samlp:LogoutRequest>", f"{signed}</samlp:LogoutRequest>"
        ),
    )
    put(
        "reference-empty",
        "signature_policy",
        "The Reference's URI is empty; rightly signed.",
        s.sign(text, "_p1", uri=""),
    )
    put(
        "reference-http",
        "signature_policy",
        "The Reference's URI is a server; nothing may be fetched.",
        s.sign(text, "_p1", uri="http://fetch.example.test/x"),
    )
    put(
        "second-signed-info",
        "signature_policy",
        "A second SignedInfo stands before the signed one.",
        signed.replace(
            "<ds:SignedInfo>",
            signed[signed.index("<ds:SignedInfo>") : signed.index("</ds:SignedInfo>") + 16]
            + "<ds:SignedInfo>",
            1,
        ),
    )
    put(
        "comment",
        "forbidden_xml",
        "A comment cuts the NameID; the signature stays valid.",
        signed.replace(">alice@example.test<", ">alice@example<!---->.test<"),
    )
    put(
        "doctype",
        "forbidden_xml",
        "A DOCTYPE stands in front; the signature stays valid.",
        "<!DOCTYPE r>" + signed,
    )
    put("second-root", "malformed", "A forged LogoutRequest follows as a second root.", signed + evil)
    put(
        "id-copy",
        "structure",
        "A second attribute has the ID of the signed LogoutRequest.",
        signed.replace("<samlp:SessionIndex>", '<samlp:SessionIndex xml:id="_p1">'),
        ["signature_invalid"],
    )
    put(
        "login-response",
        "structure",
        "A login Response, rightly signed, at the logout address.",
        m.fill(m.Message("post-login-response"), {}, None),
    )
    put(
        "signed-assertion",
        "structure",
        "A LogoutRequest that is not signed has a signed Assertion as its child.",
        evil.replace(
            "</samlp:LogoutRequest>",
            m.fill(
                m.Message("post-signed-assertion"),
                None,
                {},
                text=m.Message("post-signed-assertion").assertion_text(alone=True),
            )
            + "</samlp:LogoutRequest>",
        ),
    )
    put(
        "void-canonicalization",
        "forbidden_xml",
        "A namespace that is no absolute URI, and the digest of the empty text.",
        s.sign(text, "_p1", octets=b"")
        .replace("alice@", "root@")
        .replace("<samlp:SessionIndex>", '<samlp:SessionIndex xmlns:v="x">'),
    )


def add_all():
    add_good()
    add_bad_queries()
    add_bad_requests()
    add_bad_responses()
    add_bad_posts()
