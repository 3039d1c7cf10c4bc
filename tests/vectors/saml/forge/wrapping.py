"""Signature wrapping, games with IDs, tampering: what is done to a genuine message without any key."""

from . import message as m
from .case import CASES, attack, build, change
from .sign import DS, encode, x509_key_info

VICTIM = "root@example.test"


def genuine(base):
    return CASES[base].xml.decode()


def cut(xml, start, end):
    """The first piece of `xml` from `start` to `end`, both included."""
    at = xml.index(start)
    return xml[at : xml.index(end, at) + len(end)]


def cut_assertion(xml):
    return cut(xml, "<saml:Assertion", "</saml:Assertion>")


def cut_signature(xml):
    return cut(xml, "<ds:Signature", "</ds:Signature>")


def forge(xml, *, same_id=False, name="forged"):
    """The Assertion or Response with the victim's name, without signature, with other IDs."""
    out = xml.replace("alice@example.test", VICTIM).replace("staff", "root")
    if "<ds:Signature" in out:
        out = out.replace(cut_signature(out), "")
    if not same_id:
        for piece in xml.split(' ID="')[1:]:
            old = piece.split('"')[0]
            out = out.replace(f' ID="{old}"', f' ID="{m.make_id(name, old)}"')
    return out


def alone(assertion):
    """The Assertion with its namespace declared on it: it may stand anywhere and keeps its canonical form."""
    return assertion.replace("<saml:Assertion", f'<saml:Assertion xmlns:saml="{m.SAML}"', 1)


def before(xml, tag, piece):
    assert xml.count(tag) >= 1
    at = xml.rindex(tag)
    return xml[:at] + piece + xml[at:]


def after(xml, tag, piece):
    at = xml.index(tag) + len(tag)
    return xml[:at] + piece + xml[at:]


def add_wrapped_assertions():
    base = "assertion-signed"
    xml = genuine(base)
    real = cut_assertion(xml)
    signature = cut_signature(xml)
    bare = real.replace(signature, "")
    end = "</saml:Assertion>"

    def put(name, why, text):
        attack(name, "structure", why, text, base=base)

    for same in (False, True):
        evil = forge(real, same_id=same)
        tail, note = ("-same-id", " Both Assertions have the same ID.") if same else ("", "")
        put(
            f"xsw3-before{tail}",
            "A forged Assertion stands before the genuine, signed one." + note,
            xml.replace(real, evil + real),
        )
        put(
            f"xsw9-after{tail}",
            "A forged Assertion stands after the genuine, signed one." + note,
            xml.replace(real, real + evil),
        )
        put(
            f"xsw4-around{tail}",
            "A forged Assertion has the genuine one as its last child." + note,
            xml.replace(real, before(evil, end, real)),
        )
        if same:
            continue
        put(
            f"xsw10-advice{tail}",
            "The genuine Assertion lies in the Advice of a forged one." + note,
            xml.replace(real, before(evil, "<saml:AuthnStatement", f"<saml:Advice>{real}</saml:Advice>")),
        )
        put(
            f"xsw11-foreign-wrapper{tail}",
            "The genuine Assertion lies in an element of a foreign namespace, a forged one in its place."
            + note,
            xml.replace(real, f'<w:wrap xmlns:w="urn:example:wrap">{real}</w:wrap>{evil}'),
        )
        put(
            f"xsw12-status-detail{tail}",
            "The genuine Assertion lies in StatusDetail, a forged one in its place." + note,
            before(
                xml.replace(real, evil), "</samlp:Status>", f"<samlp:StatusDetail>{real}</samlp:StatusDetail>"
            ),
        )
        put(
            f"xsw7-extensions{tail}",
            "Extensions of the Response hold the genuine Assertion, a forged one in its place." + note,
            before(xml.replace(real, evil), "<samlp:Status>", f"<samlp:Extensions>{real}</samlp:Extensions>"),
        )
    evil = forge(real)
    with_signature = evil.replace("</saml:Issuer>", "</saml:Issuer>" + signature, 1)
    put(
        "xsw5-copy-after",
        "The Signature stays in the changed Assertion; the original without it follows.",
        xml.replace(real, with_signature + bare),
    )
    put(
        "xsw5-copy-before",
        "The original without its Signature stands before the changed Assertion that has it.",
        xml.replace(real, bare + with_signature),
    )
    put(
        "xsw6-copy-in-signature",
        "The Signature stays in the changed Assertion and holds the original.",
        xml.replace(real, before(with_signature, "</ds:Signature>", bare)),
    )
    put(
        "xsw8-object",
        "The Signature stays in the changed Assertion; its ds:Object holds the original.",
        xml.replace(real, before(with_signature, "</ds:Signature>", f"<ds:Object>{bare}</ds:Object>")),
    )
    put(
        "xsw8-object-signed",
        "The changed Assertion has an empty Signature whose ds:Object holds the signed original.",
        xml.replace(
            real,
            evil.replace(
                "</saml:Issuer>",
                f'</saml:Issuer><ds:Signature xmlns:ds="{DS}"><ds:Object>{real}</ds:Object></ds:Signature>',
                1,
            ),
        ),
    )
    put(
        "xsw-keyinfo",
        "The Signature stays in the changed Assertion; its KeyInfo holds the original.",
        xml.replace(real, before(with_signature, "</ds:KeyInfo>", bare)),
    )
    put(
        "xsw7-extensions-forged",
        "Extensions of the Response hold a forged Assertion; the genuine one is in its place.",
        before(xml, "<samlp:Status>", f"<samlp:Extensions>{evil}</samlp:Extensions>"),
    )
    put(
        "xsw12-status-detail-forged",
        "StatusDetail holds a forged Assertion; the genuine one is in its place.",
        before(xml, "</samlp:Status>", f"<samlp:StatusDetail>{evil}</samlp:StatusDetail>"),
    )
    put(
        "xsw-attribute-value",
        "The genuine Assertion is the value of an attribute of a forged one.",
        xml.replace(
            real,
            before(
                evil,
                "</saml:AttributeStatement>",
                '<saml:Attribute Name="note"><saml:AttributeValue>'
                f"{real}</saml:AttributeValue></saml:Attribute>",
            ),
        ),
    )
    data = cut(evil, "<saml:SubjectConfirmationData", "/>")
    put(
        "xsw-confirmation-data",
        "The genuine Assertion lies in SubjectConfirmationData of a forged one.",
        xml.replace(real, evil.replace(data, f"{data[:-2]}>{real}</saml:SubjectConfirmationData>")),
    )
    put(
        "xsw-authn-context-decl",
        "The genuine Assertion lies in AuthnContextDecl of a forged one.",
        xml.replace(
            real,
            before(evil, "</saml:AuthnContext>", f"<saml:AuthnContextDecl>{real}</saml:AuthnContextDecl>"),
        ),
    )

    put(
        "xsw-other-prefix",
        "A forged Assertion under another prefix of the same namespace stands before the genuine one.",
        xml.replace(
            real,
            evil.replace("saml:", "z:").replace("<z:Assertion", f'<z:Assertion xmlns:z="{m.SAML}"', 1) + real,
        ),
    )
    put(
        "xsw-default-namespace",
        "A forged Assertion without prefixes stands before the genuine one.",
        xml.replace(
            real,
            f'<Assertion xmlns="{m.SAML}"'
            + evil.replace("<saml:", "<").replace("</saml:", "</")[len("<Assertion") :]
            + real,
        ),
    )
    put(
        "xsw-saml1-assertion",
        "A forged Assertion in the namespace of SAML 1.1 stands before the genuine one.",
        xml.replace(
            real,
            evil.replace(
                "<saml:Assertion", '<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion"', 1
            )
            + real,
        ),
    )
    put(
        "xsw-look-alike-assertion",
        "A forged Assertion in a namespace that differs by a slash stands before the genuine one.",
        xml.replace(
            real, evil.replace("<saml:Assertion", f'<saml:Assertion xmlns:saml="{m.SAML}/"', 1) + real
        ),
    )
    put(
        "two-assertions-both-signed",
        "Two Assertions, each signed by the IdP, of two persons.",
        xml.replace(real, real + second_signed()),
    )


def second_signed():
    """Another Assertion that the IdP signed, for another person, cut out of its Response."""
    _, other = build("two-assertions-second", "assertion", name_id="bob@example.test")
    return cut_assertion(other)


def add_wrapped_responses():
    base = "response-signed"
    xml = genuine(base)
    signature = cut_signature(xml)
    bare = xml.replace(signature, "")

    def put(name, why, text):
        attack(name, "structure", why, text, base=base)

    for same in (False, True):
        tail, note = ("-same-id", " IDs are kept.") if same else ("", "")
        evil = forge(xml, same_id=same)
        head = "</saml:Issuer>"
        put(
            f"xsw1-response-in-signature{tail}",
            "The Signature is in a forged Response and holds the original." + note,
            after(evil, head, before(signature, "</ds:Signature>", bare)),
        )
        if same:
            continue
        put(
            f"xsw1-response-in-object{tail}",
            "The Signature is in a forged Response; its ds:Object holds the original." + note,
            after(evil, head, before(signature, "</ds:Signature>", f"<ds:Object>{bare}</ds:Object>")),
        )
        put(
            f"xsw2-response-before-signature{tail}",
            "A forged Response has the original and then its Signature as children." + note,
            after(evil, head, bare + signature),
        )
        put(
            f"xsw2-response-after-signature{tail}",
            "A forged Response has the Signature and then the original as children." + note,
            after(evil, head, signature + bare),
        )
        put(
            f"xsw13-response-nested{tail}",
            "The whole signed Response is the last child of a forged one." + note,
            before(evil, "</samlp:Response>", xml),
        )
        put(
            f"xsw13-response-in-extensions{tail}",
            "The whole signed Response lies in Extensions of a forged one." + note,
            before(evil, "<samlp:Status>", f"<samlp:Extensions>{xml}</samlp:Extensions>"),
        )
        put(
            f"xsw13-response-in-status-detail{tail}",
            "The whole signed Response lies in StatusDetail of a forged one." + note,
            before(evil, "</samlp:Status>", f"<samlp:StatusDetail>{xml}</samlp:StatusDetail>"),
        )
        put(
            f"xsw13-response-in-advice{tail}",
            "The whole signed Response lies in the Advice of a forged Assertion." + note,
            before(evil, "<saml:AuthnStatement", f"<saml:Advice>{xml}</saml:Advice>"),
        )
    put(
        "xsw13-response-instead",
        "A forged Response has the signed one in the place of its Assertion.",
        bare.replace(cut_assertion(bare), xml).replace(
            f' ID="{m.make_id(base, "response")}"', ' ID="_outer"', 1
        ),
    )
    put(
        "root-soap",
        "The signed Response lies in a SOAP envelope.",
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        + xml
        + "</s:Body></s:Envelope>",
    )

    put(
        "root-assertion",
        "The root is a signed Assertion without a Response.",
        alone(cut_assertion(genuine("assertion-signed"))),
    )
    put(
        "root-foreign-namespace",
        "The root is a Response of another namespace.",
        xml.replace(f'xmlns:samlp="{m.SAMLP}"', 'xmlns:samlp="urn:example:protocol"'),
    )
    attack(
        "root-saml1",
        "structure",
        "The root is a Response in the namespace of SAML 1.1.",
        xml.replace(f'xmlns:samlp="{m.SAMLP}"', 'xmlns:samlp="urn:oasis:names:tc:SAML:1.0:protocol"'),
        also=["version"],
        base=base,
    )


def add_id_games():
    base = "assertion-signed"
    response_id, assertion_id = m.make_id(base, "response"), m.make_id(base, "assertion")

    def put(name, why, *pairs, also=(), base=base):
        attack(name, "structure", why, change(genuine(base), *pairs), also=also, base=base)

    put(
        "id-same-twice",
        "The unsigned Response has the ID of the signed Assertion.",
        (f' ID="{response_id}"', f' ID="{assertion_id}"'),
    )
    for name, written, also in (
        ("id", f'id="{assertion_id}"', ()),
        ("capital-id", f'Id="{assertion_id}"', ()),
        ("xml-id", f'xml:id="{assertion_id}"', ()),
        ("prefixed-id", f'samlp:ID="{assertion_id}"', ()),
        ("assertion-id", f'AssertionID="{assertion_id}"', ()),
        ("foreign-id", f'v:ID="{assertion_id}" xmlns:v="urn:example:v"', ()),
    ):
        put(
            f"id-copy-{name}",
            f"The Response has the Assertion's ID in a second attribute: {written.split('=')[0]}.",
            ("<samlp:Response ", f"<samlp:Response {written} "),
            also=also,
        )
    for name, written in (("id", "ID"), ("xml-id", "xml:id")):
        put(
            f"id-on-status-{name}",
            f"Status has the Assertion's ID as {written}.",
            ("<samlp:Status>", f'<samlp:Status {written}="{assertion_id}">'),
        )
    put(
        "id-on-signature",
        "The Signature's Id is the ID of the Assertion.",
        ("<ds:Signature ", f'<ds:Signature Id="{assertion_id}" '),
    )
    put(
        "id-of-signature-twice",
        "Signature and KeyInfo have one Id.",
        ("<ds:Signature ", '<ds:Signature Id="_s" '),
        ("<ds:KeyInfo>", '<ds:KeyInfo Id="_s">'),
    )
    put(
        "id-absent-response",
        "The unsigned Response has no ID.",
        (f' ID="{response_id}"', ""),
        also=["malformed"],
    )
    put(
        "id-with-blank",
        "The unsigned Response's ID is two words.",
        (f' ID="{response_id}"', ' ID="_a _b"'),
        also=["malformed"],
    )
    put(
        "id-empty",
        "The unsigned Response's ID is empty.",
        (f' ID="{response_id}"', ' ID=""'),
        also=["malformed"],
    )


def add_shapes():
    """Children that the Response or the Assertion must not have, over a signature that stays valid."""
    base = "assertion-signed"
    xml = genuine(base)
    real = cut_assertion(xml)

    def put(name, why, text, also=()):
        attack(name, "structure", why, text, base=base, also=also)

    put(
        "child-foreign",
        "The Response has a child of a foreign namespace.",
        before(xml, "</samlp:Response>", '<v:x xmlns:v="urn:example:v"/>'),
    )
    put(
        "child-second-issuer",
        "The Response has two Issuers.",
        after(xml, "</saml:Issuer>", f"<saml:Issuer>{m.OTHER_IDP_ENTITY}</saml:Issuer>"),
    )
    put(
        "child-second-status",
        "The Response has two Statuses.",
        after(
            xml, "</samlp:Status>", f'<samlp:Status><samlp:StatusCode Value="{m.SUCCESS}"/></samlp:Status>'
        ),
    )
    put(
        "child-text",
        "The Response has text between its children.",
        after(xml, "</samlp:Status>", "text"),
        also=["malformed"],
    )

    put(
        "extensions-saml-element",
        "Extensions hold a NameID.",
        before(
            xml, "<samlp:Status>", f"<samlp:Extensions><saml:NameID>{VICTIM}</saml:NameID></samlp:Extensions>"
        ),
    )
    put(
        "extensions-samlp-element",
        "Extensions hold a StatusCode, deep in a foreign element.",
        before(
            xml,
            "<samlp:Status>",
            '<samlp:Extensions><v:a xmlns:v="urn:example:v"><v:b><samlp:StatusCode Value="x"/></v:b>'
            "</v:a></samlp:Extensions>",
        ),
    )
    put(
        "extensions-ds-element",
        "Extensions hold a ds:KeyInfo.",
        before(
            xml,
            "<samlp:Status>",
            f'<samlp:Extensions><ds:KeyInfo xmlns:ds="{DS}"><ds:KeyName>k</ds:KeyName></ds:KeyInfo>'
            "</samlp:Extensions>",
        ),
    )
    put(
        "no-assertion",
        "The Assertion is taken out of a Response of which only the Assertion was signed.",
        xml.replace(real, ""),
        also=["unsigned"],
    )
    signature = cut_signature(xml)
    put(
        "signature-in-subject",
        "The Assertion's Signature is moved into its Subject.",
        after(xml.replace(signature, ""), "<saml:Subject>", signature),
    )
    put(
        "signature-in-status",
        "The Assertion's Signature is moved into Status.",
        after(xml.replace(signature, ""), "<samlp:Status>", signature),
    )
    put(
        "signature-in-issuer",
        "The Assertion's Signature is moved into its Issuer.",
        xml.replace(signature, "").replace(
            "</saml:Issuer><saml:Subject>", signature + "</saml:Issuer><saml:Subject>"
        ),
    )
    put(
        "signature-in-extensions",
        "A second Signature lies in Extensions.",
        before(xml, "<samlp:Status>", f"<samlp:Extensions>{signature}</samlp:Extensions>"),
    )
    put("signature-twice", "The Assertion has its Signature twice.", xml.replace(signature, signature * 2))
    forged = signature.replace(
        cut(signature, "<ds:DigestValue>", "</ds:DigestValue>"),
        f"<ds:DigestValue>{encode(bytes(32))}</ds:DigestValue>",
    )
    put(
        "signature-second-forged-before",
        "A forged Signature stands before the genuine one.",
        xml.replace(signature, forged + signature),
    )
    put(
        "signature-second-forged-after",
        "A forged Signature stands after the genuine one.",
        xml.replace(signature, signature + forged),
    )
    for name, namespace in (
        ("no-hash", DS[:-1]),
        ("foreign", "urn:example:xmldsig"),
    ):
        put(
            f"look-alike-signature-{name}",
            f"The Signature of the Assertion is in the namespace {namespace}.",
            xml.replace(f'xmlns:ds="{DS}"', f'xmlns:ds="{namespace}"'),
        )
    put(
        "look-alike-beside-genuine",
        "A Signature of a look-alike namespace stands in the Response beside the genuine one.",
        after(xml, "</saml:Issuer>", signature.replace(DS, "urn:example:xmldsig", 1)),
    )
    attack(
        "no-assertion-signed",
        "structure",
        "The IdP signed a Response without an Assertion.",
        build("no-assertion-signed", assertions="")[1],
        base="response-signed",
    )
    attack(
        "assertion-id-absent",
        "structure",
        "The IdP signed a Response whose Assertion has no ID.",
        change_and_sign("assertion-id-absent"),
        base="response-signed",
        also=["malformed"],
    )


def change_and_sign(name):
    message = m.Message(name)
    text = message.response_text().replace(f' ID="{message.assertion_id}"', "")
    return m.fill(message, {"key_info": x509_key_info("idp-rsa2048")}, None, text=text)


def add_tampering():
    for base in ("response-signed", "assertion-signed"):
        short = base.split("-")[0]
        pairs = {
            "name-id": (
                "The NameID is changed",
                (">alice@example.test</saml:NameID>", f">{VICTIM}</saml:NameID>"),
            ),
            "group": ("A group is changed", (">staff</saml:AttributeValue>", ">root</saml:AttributeValue>")),
            "attribute-added": (
                "An Attribute is added",
                (
                    "</saml:AttributeStatement>",
                    (
                        '<saml:Attribute Name="role"><saml:'
                        "AttributeValue>root</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>"
                    ),
                ),
            ),
            "attribute-removed": (
                "A value is taken out",
                ("<saml:AttributeValue>staff</saml:AttributeValue>", ""),
            ),
            "expiry": (
                "NotOnOrAfter of Conditions is moved a day ahead",
                (
                    f'<saml:Conditions NotBefore="{m.at(-60)}" NotOnOrAfter="{m.at(300)}"',
                    f'<saml:Conditions NotBefore="{m.at(-60)}" NotOnOrAfter="{m.at(86700)}"',
                ),
            ),
            "blank": ("One blank is added within a value", (">admins<", ">admins <")),
        }
        for name, (what, pair) in pairs.items():
            # The Response's own signature covers the Assertion in the same way: three of the ten are enough there.
            if short == "response" and name not in ("name-id", "group", "expiry"):
                continue
            attack(
                f"tampered-{short}-{name}",
                "signature_invalid",
                f"{what} after signing ({short} signed).",
                change(genuine(base), pair),
                base=base,
            )
    xml = genuine("response-signed")
    attack(
        "tampered-response-status-message",
        "signature_invalid",
        "A StatusMessage is added after signing.",
        before(xml, "</samlp:Status>", "<samlp:StatusMessage>x</samlp:StatusMessage>"),
        base="response-signed",
    )
    attack(
        "tampered-response-id",
        "signature_invalid",
        "The signed Response's ID and the Reference to it are changed.",
        xml.replace(m.make_id("response-signed", "response"), "_" + "0" * 32),
        base="response-signed",
    )
    both = genuine("both-signed")
    inner = cut(both[both.index("<saml:Assertion") :], "<ds:Signature", "</ds:Signature>")
    attack(
        "inner-signature-removed",
        "signature_invalid",
        "The Assertion's Signature is taken out of a Response that was signed over it.",
        both.replace(inner, ""),
        base="both-signed",
    )
    attack(
        "outer-valid-inner-tampered",
        "signature_invalid",
        "Both were signed; the Assertion's name is changed.",
        change(both, (">alice@example.test</saml:NameID>", f">{VICTIM}</saml:NameID>")),
        base="both-signed",
    )
    attack(
        "both-outer-digest-broken",
        "signature_invalid",
        "Both were signed; Destination was changed, so only the Assertion's Signature holds.",
        change(both, (f' Destination="{m.ACS}"', f' Destination="{m.ACS}?x=1"')),
        base="both-signed",
        also=["destination"],
    )


def add_all():
    add_wrapped_assertions()
    add_wrapped_responses()
    add_id_games()
    add_shapes()
    add_tampering()
