"""The collection of cases, and the identity providers that they name."""

import base64
import html
from dataclasses import dataclass

from . import message as m

# name: (entity id, certificates, switches)
IDPS = {
    "acme": (m.IDP_ENTITY, ["idp-rsa2048"], {}),
    "acme-open": (m.IDP_ENTITY, ["idp-rsa2048"], {"idp_initiated": True}),
    "acme-cbc": (m.IDP_ENTITY, ["idp-rsa2048"], {"allow_cbc": True}),
    "acme-sha1": (m.IDP_ENTITY, ["idp-rsa2048"], {"allow_sha1": True}),
    "rsa3072": (m.IDP_ENTITY, ["idp-rsa3072"], {}),
    "rsa4096": (m.IDP_ENTITY, ["idp-rsa4096"], {}),
    "rsa1024": (m.IDP_ENTITY, ["idp-rsa1024"], {}),
    "p256": (m.IDP_ENTITY, ["idp-p256"], {}),
    "p384": (m.IDP_ENTITY, ["idp-p384"], {}),
    "rotating": (m.IDP_ENTITY, ["idp-rsa2048", "idp-rsa2048-next"], {}),
    "mixed": (m.IDP_ENTITY, ["idp-rsa2048", "idp-p256", "idp-rsa3072", "idp-p384"], {}),
    "mixed-ec-first": (m.IDP_ENTITY, ["idp-p384", "idp-rsa2048"], {}),
    "other": (m.OTHER_IDP_ENTITY, ["other-idp-rsa2048"], {}),
}


def merge_attributes(listed):
    merged = {}
    for x in listed:
        merged.setdefault(x.name, []).extend(x.values)
    return {name: values for name, values in merged.items() if values}


def accepted(message, **changes):
    """The identity that a reader of `message` must come to."""
    out = {
        "accepted": True,
        "name_id": html.unescape(message.name_id),
        "name_id_format": message.name_id_format,
        "session_index": message.session_index,
        "attributes": merge_attributes(message.attributes),
    }
    out.update(changes)
    return out


@dataclass
class Case:
    name: str
    why: str
    expect: dict
    xml: bytes | None = None
    generate: dict | None = None
    idp: str = "acme"
    now: int = m.NOW_MS
    request_id: str | None = m.REQUEST_ID
    base: str | None = None
    after: str | None = None
    field: str | None = None
    encoding: str | None = None
    file_of: str | None = None

    def describe(self):
        out = {"name": self.name}
        if self.generate is not None:
            out["generate"] = self.generate
        else:
            out["file"] = f"xml/{self.file_of or self.name}.xml"
        if self.field is not None:
            out["field"] = f"field/{self.name}.txt"
            out["encoding"] = self.encoding
        if self.base:
            out["base"] = self.base
        out |= {"now": self.now, "idp": self.idp, "request_id": self.request_id}
        if self.after:
            out["after"] = self.after
        return out | {"expect": self.expect, "why": self.why}


CASES = {}


def add(case):
    assert case.name not in CASES, case.name
    if isinstance(case.xml, str):
        case.xml = case.xml.encode()
    if case.xml is not None and case.base in CASES and CASES[case.base].xml == case.xml:
        case.file_of, case.xml = case.base, None
    CASES[case.name] = case
    return case


def signers(what, how):
    """Arguments of `fill` for `response`, `assertion`, `both` or `none`."""
    how = dict(how)
    how.setdefault("key", "idp-rsa2048")
    ds = how.get("ds", "ds:")
    # A name instead of a certificate keeps the corpus small; the cases about KeyInfo and the vendors' have the rest.
    how.setdefault("key_info", f"<{ds}KeyInfo><{ds}KeyName>signing-2026</{ds}KeyName></{ds}KeyInfo>")
    return {
        "response": how if what in ("response", "both") else None,
        "assertion": how if what in ("assertion", "both") else None,
    }


def build(name, signed="response", how=None, text=None, **fields):
    """A Message and its signed text."""
    message = m.Message(name, **fields)
    return message, m.fill(message, text=text(message) if text else None, **signers(signed, how or {}))


def valid(
    name,
    why,
    signed="response",
    how=None,
    *,
    idp="acme",
    now=0,
    request_id=m.REQUEST_ID,
    expect=None,
    text=None,
    edit=None,
    field=None,
    encoding=None,
    repeated=None,
    **fields,
):
    """Adds a case that must be accepted. `expect` overrides what the Message says of itself."""
    if "response_issuer" not in fields and idp in IDPS:
        fields |= {"response_issuer": IDPS[idp][0], "assertion_issuer": IDPS[idp][0]}
    message, xml = build(name, signed, how, text, **fields)
    if edit:
        xml = edit(xml)
    if repeated:
        add(
            Case(
                name,
                why,
                accepted(message, **(expect or {})),
                generate=recipe(xml, repeated),
                idp=idp,
                now=m.at_ms(now),
                request_id=request_id,
            )
        )
        return message, xml
    add(
        Case(
            name,
            why,
            accepted(message, **(expect or {})),
            xml,
            idp=idp,
            now=m.at_ms(now),
            request_id=request_id,
            field=field(xml) if field else None,
            encoding=encoding,
        )
    )
    return message, xml


def recipe(xml, piece, target="xml"):
    """Parts whose texts, put together, are `xml`: the longest run of `piece` in it is said by a number."""
    times, at = 0, xml.find(piece)
    best = (0, 0)
    while at >= 0:
        times = 1
        while xml.startswith(piece, at + times * len(piece)):
            times += 1
        best = max(best, (times, at))
        at = xml.find(piece, at + times * len(piece))
    times, at = best
    return {
        "target": target,
        "parts": [
            {"text": xml[:at]},
            {"repeat": piece, "times": times},
            {"text": xml[at + times * len(piece) :]},
        ],
    }


def attack(name, kind, why, xml=None, *, also=(), repeated=None, **rest):
    """Adds a case that must be refused with the class `kind`, or equally rightly with one of `also`.

    `repeated` is the piece whose run makes the message so large that only a recipe of it is committed.
    """
    if repeated:
        rest["generate"], xml = recipe(xml, repeated), None
    expect = {"accepted": False, "class": kind}
    if also:
        expect["classes"] = [kind, *also]
    if "now" in rest:
        rest["now"] = m.at_ms(rest["now"])
    add(Case(name, why, expect, xml, **rest))


def spoiled(
    name,
    kind,
    why,
    signed="response",
    how=None,
    *,
    also=(),
    idp="acme",
    now=0,
    request_id=m.REQUEST_ID,
    text=None,
    edit=None,
    base=None,
    repeated=None,
    **fields,
):
    """Adds an attack that a genuine key signed: only the named fault keeps it out."""
    if "response_issuer" not in fields and "assertion_issuer" not in fields:
        fields |= {"response_issuer": IDPS[idp][0], "assertion_issuer": IDPS[idp][0]}
    _, xml = build(name, signed, how, text, **fields)
    if edit:
        xml = edit(xml)
    base = base or {
        "response": "response-signed",
        "assertion": "assertion-signed",
        "both": "both-signed",
    }.get(signed)
    attack(
        name, kind, why, xml, also=also, idp=idp, now=now, request_id=request_id, base=base, repeated=repeated
    )


def change(text, *pairs):
    """Replaces each first member by the second; each must be there exactly once."""
    for old, new in pairs:
        assert text.count(old) == 1, (text.count(old), old)
        text = text.replace(old, new)
    return text


def to_base64(xml):
    return base64.b64encode(xml.encode() if isinstance(xml, str) else xml).decode()
