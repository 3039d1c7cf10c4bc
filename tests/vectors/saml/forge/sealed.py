"""Attacks on encryption. An attacker needs no key for most of them: ours for encryption is public."""

from . import message as m
from . import sign as s
from .case import attack, spoiled
from .encrypt import DS, OAEP_11, RSA_15, XENC, encrypt_element
from .valid import encrypt_attribute, encrypt_name_id, encrypted
from .wrapping import VICTIM, alone, before, cut, cut_assertion, forge, genuine


def put(
    name,
    kind,
    why,
    signed=None,
    inner=True,
    also=(),
    idp="acme",
    edit=None,
    base="encrypted-inside-signed-aes256-gcm",
    after=None,
    **rest,
):
    rest.setdefault("cipher", "aes256-gcm")
    _, xml = encrypted(name, signed, inner, **rest)
    attack(name, kind, why, edit(xml) if edit else xml, also=also, idp=idp, base=base, after=after)


def flip(at):
    """Flips one bit of the octet `at`."""
    return (
        lambda octets: octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 if at != -1 else len(octets) :]
    )


def add_unsigned():
    victim = {"name_id": VICTIM}
    put(
        "sealed-unsigned",
        "unsigned",
        "Nothing is signed; anybody can encrypt to us.",
        None,
        False,
        fields=victim,
    )
    put(
        "sealed-attacker-signed",
        "signature_invalid",
        "The Assertion inside is signed by the attacker.",
        None,
        True,
        fields=victim,
        how={"key": "attacker-rsa2048"},
    )

    put(
        "sealed-outer-attacker-signed",
        "signature_invalid",
        "The attacker signed the Response around; the Assertion inside is not signed.",
        "response",
        False,
        fields=victim,
        how={"key": "attacker-rsa2048"},
    )
    put(
        "sealed-tampered-inside",
        "signature_invalid",
        "The signed Assertion was changed and then encrypted.",
        None,
        False,
        assertion_text=lambda x: alone(cut_assertion(genuine("assertion-signed"))).replace("alice@", "root@"),
    )
    put(
        "sealed-sha1-inside",
        "signature_policy",
        "The Assertion inside is signed with RSA-SHA1.",
        None,
        True,
        how={"digest": "sha1"},
    )
    put(
        "sealed-hmac-inside",
        "signature_policy",
        "The Assertion inside has an HMAC keyed with the IdP's public key.",
        None,
        True,
        fields=victim,
        how={
            "method": s.MORE + "hmac-sha256",
            "raw": lambda octets: s.hmac_octets(s.public_forms("idp-rsa2048")["spki-der"], "sha256", octets),
        },
    )
    put(
        "sealed-outer-good-inner-attacker",
        "signature_invalid",
        "The IdP signed the Response around an Assertion that the attacker signed.",
        "response",
        False,
        assertion_text=lambda x: s.sign(x.assertion_text(alone=True), x.assertion_id, "attacker-rsa2048"),
        fields=victim,
    )


def add_beside():
    base, xml = "assertion-signed", genuine("assertion-signed")
    real = cut_assertion(xml)
    evil = encrypt_element(alone(forge(real)), "sealed-beside")
    sealed = f"<saml:EncryptedAssertion>{evil}</saml:EncryptedAssertion>"
    for name, why, text in (
        (
            "before",
            "An unsigned EncryptedAssertion stands before the genuine, signed Assertion.",
            xml.replace(real, sealed + real),
        ),
        (
            "after",
            "An unsigned EncryptedAssertion stands after the genuine, signed Assertion.",
            xml.replace(real, real + sealed),
        ),
        (
            "extensions",
            "An EncryptedAssertion lies in Extensions.",
            before(xml, "<samlp:Status>", f"<samlp:Extensions>{sealed}</samlp:Extensions>"),
        ),
    ):
        attack(f"sealed-beside-{name}", "structure", why, text, base=base)
    _, two = encrypted("sealed-two", None, True, cipher="aes256-gcm")
    piece = cut(two, "<saml:EncryptedAssertion", "</saml:EncryptedAssertion>")
    attack(
        "sealed-two",
        "structure",
        "Two EncryptedAssertions, a forged one first.",
        two.replace(piece, sealed + piece),
        base="encrypted-inside-signed-aes256-gcm",
    )

    data = cut(piece, "<xenc:EncryptedData", "</xenc:EncryptedData>")
    attack(
        "sealed-data-alone",
        "structure",
        "EncryptedData is a child of the Response, without EncryptedAssertion.",
        two.replace(piece, data),
        base="encrypted-inside-signed-aes256-gcm",
    )
    attack(
        "sealed-data-twice",
        "decrypt",
        "EncryptedAssertion has two EncryptedData.",
        two.replace(data, data * 2),
        base="encrypted-inside-signed-aes256-gcm",
        also=["structure"],
    )
    attack(
        "sealed-empty",
        "decrypt",
        "EncryptedAssertion is empty.",
        two.replace(data, ""),
        base="encrypted-inside-signed-aes256-gcm",
        also=["structure"],
    )


def add_inside():
    """Something else than one Assertion is inside."""
    signed_response = genuine("response-signed")
    real = alone(cut_assertion(genuine("assertion-signed")))

    def inside(name, kind, why, text, also=()):
        put(f"sealed-inside-{name}", kind, why, None, False, also=also, assertion_text=lambda x: text)

    inside("response", "structure", "A whole signed Response is inside.", signed_response)
    inside(
        "two-assertions",
        "structure",
        "A forged Assertion and the genuine one are inside.",
        forge(real) + real,
        ["malformed"],
    )
    inside(
        "wrapped",
        "structure",
        "A forged Assertion is inside that has the genuine one as its child.",
        before(forge(real, same_id=False), "</saml:Assertion>", cut_assertion(genuine("assertion-signed"))),
    )
    inside(
        "comment",
        "forbidden_xml",
        "The signed Assertion inside has a comment in its NameID.",
        real.replace(">alice@", ">alice<!---->@"),
    )
    inside(
        "doctype",
        "forbidden_xml",
        "The signed Assertion inside has a DOCTYPE with an entity.",
        '<!DOCTYPE r [<!ENTITY e "x">]>' + real,
    )
    inside("nothing", "decrypt", "Nothing is inside.", "", ["malformed", "structure"])
    inside(
        "broken", "malformed", "The end of the signed Assertion inside is missing.", real[:-10], ["decrypt"]
    )
    inside(
        "name-id",
        "structure",
        "A NameID is inside.",
        f'<saml:NameID xmlns:saml="{m.SAML}">{VICTIM}</saml:NameID>',
        ["decrypt"],
    )

    again = encrypt_element(real, "sealed-inside-again")
    inside(
        "again",
        "structure",
        "Another EncryptedAssertion is inside.",
        f'<saml:EncryptedAssertion xmlns:saml="{m.SAML}">{again}</saml:EncryptedAssertion>',
        ["decrypt"],
    )
    inside(
        "not-utf8",
        "malformed",
        "Octets that are no UTF-8 are inside.",
        real.encode().replace(b">staff<", b">st\xe9<"),
        ["decrypt"],
    )


def add_ciphers():
    put(
        "sealed-rsa15",
        "decrypt",
        "The key is wrapped with RSA PKCS #1 v1.5.",
        None,
        True,
        transport=RSA_15,
        also=["signature_policy"],
    )
    put(
        "sealed-rsa15-broken",
        "decrypt",
        "The key is wrapped with RSA PKCS #1 v1.5 and its padding is broken.",
        None,
        True,
        transport=RSA_15,
        edit_wrapped=flip(-1),
        also=["signature_policy"],
    )
    put(
        "sealed-tripledes",
        "decrypt",
        "Triple DES.",
        "response",
        cipher="tripledes-cbc",
        also=["signature_policy"],
        base="encrypted-aes256-gcm",
    )
    put(
        "sealed-aes192-gcm",
        "decrypt",
        "AES-192-GCM, which is not in the list.",
        "response",
        cipher="aes192-gcm",
        also=["signature_policy"],
        base="encrypted-aes256-gcm",
    )
    put(
        "sealed-cbc-unsigned-outside",
        "decrypt",
        "AES-128-CBC in an unsigned Response, Assertion signed, no switch.",
        None,
        True,
        cipher="aes128-cbc",
        also=["signature_policy", "unsigned"],
    )
    put(
        "sealed-cbc-unsigned",
        "unsigned",
        "AES-128-CBC, nothing signed, at an IdP whose switch allows CBC.",
        None,
        False,
        cipher="aes128-cbc",
        idp="acme-cbc",
        fields={"name_id": VICTIM},
    )
    for name, edit in (
        ("bit", flip(20)),
        ("padding", flip(-1)),
        ("cut-block", lambda x: x[:-16]),
        ("nothing", lambda x: b""),
    ):
        put(
            f"sealed-cbc-{name}",
            "decrypt",
            f"AES-128-CBC under a signed Response, ciphertext spoiled ({name}) before it was signed.",
            "response",
            inner=False,
            cipher="aes128-cbc",
            edit_sealed=edit,
            base="encrypted-aes128-cbc",
            also=(
                ["malformed", "structure", "forbidden_xml"]
                if name in ("bit", "padding", "cut-block")
                else ["malformed"]
            ),
        )
    for name, edit in (
        ("tag", flip(-1)),
        ("cut-to-nonce", lambda x: x[:12]),
        ("longer", lambda x: x + b"\x00"),
    ):
        put(
            f"sealed-gcm-{name}",
            "decrypt",
            f"AES-256-GCM, ciphertext spoiled: {name.replace('-', ' ')}.",
            edit_sealed=edit,
        )
    for name, edit in (
        ("bit", flip(5)),
        ("zero", lambda x: bytes(256)),
        ("above-modulus", lambda x: b"\xff" * 256),
    ):
        put(
            f"sealed-wrapped-{name}",
            "decrypt",
            f"The wrapped key is spoiled: {name.replace('-', ' ')}.",
            edit_wrapped=edit,
        )
    for name, edit in (("16-for-256", lambda x: x[:16]), ("32-for-128", lambda x: x * 2)):
        put(
            f"sealed-key-size-{name}",
            "decrypt",
            f"The wrapped key has the wrong size ({name.replace('-', ' ')}).",
            edit_secret=edit,
            cipher="aes128-gcm" if "128" in name else "aes256-gcm",
        )
    put(
        "sealed-other-recipient",
        "decrypt",
        "Encrypted to the key of another service.",
        recipient="sp-foreign",
    )
    put(
        "sealed-oaep-sha512",
        "decrypt",
        "OAEP with SHA-512, which is not in the list.",
        transport=OAEP_11,
        digest="sha512",
        mgf="sha512",
    )
    put(
        "sealed-digest-lie",
        "decrypt",
        "DigestMethod says SHA-256, the padding was made with SHA-1.",
        also=[],
        transport_body=f'<ds:DigestMethod xmlns:ds="{DS}" Algorithm="{XENC}sha256"/>',
    )


def add_shapes():
    def bend(name, why, old, new, kind="decrypt", also=("structure", "signature_policy")):
        put(f"sealed-shape-{name}", kind, why, edit=lambda x: replace_first(x, old, new), also=also)

    method = '<xenc:EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"/>'
    for name, uri in (("http", "http://fetch.example.test/c"), ("file", "file:///etc/hostname")):
        put(
            f"sealed-cipher-reference-{name}",
            "decrypt",
            f"CipherReference to {uri} instead of CipherValue; nothing may be fetched.",
            also=["structure", "signature_policy"],
            edit=lambda x, uri=uri: swap_last_cipher(x, f'<xenc:CipherReference URI="{uri}"/>'),
        )

    bend(
        "method-other",
        "EncryptedData says AES-128-GCM; the key has 256 bits.",
        method,
        method.replace("256", "128"),
    )
    bend("type-content", "Type is Content, not Element.", "xmlenc#Element", "xmlenc#Content")
    put(
        "sealed-shape-no-key",
        "decrypt",
        "There is no EncryptedKey.",
        edit=lambda x: x.replace(cut(x, "<xenc:EncryptedKey", "</xenc:EncryptedKey>"), ""),
        also=["structure"],
    )
    put(
        "sealed-shape-retrieval-http",
        "decrypt",
        "KeyInfo has a RetrievalMethod to a server instead of the key; nothing may be fetched.",
        also=["structure", "signature_policy"],
        edit=lambda x: x.replace(
            cut(x, "<xenc:EncryptedKey", "</xenc:EncryptedKey>"),
            '<ds:RetrievalMethod URI="http://fetch.example.test/k"/>',
        ),
    )
    put(
        "sealed-shape-value-not-base64",
        "decrypt",
        "CipherValue is not base64.",
        also=["structure", "malformed"],
        edit=lambda x: replace_first(x, "<xenc:CipherValue>", "<xenc:CipherValue>****"),
    )
    put(
        "sealed-shape-value-comment",
        "forbidden_xml",
        "A comment stands in CipherValue.",
        edit=lambda x: replace_first(x, "<xenc:CipherValue>", "<xenc:CipherValue><!--x-->"),
    )
    put(
        "sealed-shape-key-in-plain",
        "decrypt",
        "KeyInfo has a KeyName that is a key in base64, and no EncryptedKey.",
        also=["structure"],
        edit=lambda x: x.replace(
            cut(x, "<xenc:EncryptedKey", "</xenc:EncryptedKey>"),
            f"<ds:KeyName>{s.encode(bytes(32))}</ds:KeyName>",
        ),
    )


def replace_first(text, old, new):
    assert old in text, old
    return text.replace(old, new, 1)


def swap_last_cipher(xml, new):
    at = xml.rindex("<xenc:CipherValue>")
    return xml[:at] + new + xml[xml.index("</xenc:CipherValue>", at) + len("</xenc:CipherValue>") :]


def add_parts():
    for name, kind, why, text, also in (
        (
            "plain-beside",
            "subject",
            "The Subject has an EncryptedID and a plain NameID.",
            lambda x: encrypt_name_id(x) + x.name_id_text(),
            ["structure"],
        ),
        (
            "spoiled",
            "decrypt",
            "The EncryptedID's ciphertext is spoiled; rightly signed.",
            lambda x: encrypt_name_id(x, edit_sealed=flip(-1)),
            [],
        ),
        (
            "foreign",
            "decrypt",
            "The EncryptedID is for another service; rightly signed.",
            lambda x: encrypt_name_id(x, recipient="sp-foreign"),
            [],
        ),
        (
            "blank",
            "subject",
            "The EncryptedID holds a blank NameID.",
            lambda x: encrypt_name_id(x.with_(name_id=" ")),
            [],
        ),
        (
            "comment",
            "forbidden_xml",
            "The EncryptedID holds a NameID with a comment.",
            lambda x: encrypt_name_id(x.with_(name_id="root<!---->@example.test")),
            [],
        ),
        (
            "assertion",
            "structure",
            "The EncryptedID holds an Assertion.",
            lambda x: "<saml:EncryptedID>"
            + encrypt_element(alone(cut_assertion(genuine("assertion-signed"))), x.name)
            + "</saml:EncryptedID>",
            ["subject", "decrypt"],
        ),
    ):
        full = f"sealed-id-{name}"
        spoiled(
            full,
            kind,
            why,
            "assertion",
            raw_name_id=text(m.Message(full)),
            also=also,
            base="encrypted-id-assertion-aes128-gcm",
        )
    full = "sealed-attribute-spoiled"
    message = m.Message(full)
    listed = encrypt_attribute(message, message.attributes[1], edit_sealed=flip(-1))
    spoiled(
        full,
        "decrypt",
        "The EncryptedAttribute's ciphertext is spoiled; rightly signed.",
        "response",
        base="encrypted-attribute-response-aes256-gcm",
        raw_attributes=f"<saml:AttributeStatement>{listed}</saml:AttributeStatement>",
    )
    name = "sealed-id-swapped"
    message, other = m.Message(name), m.Message(name + "-victim", name_id=VICTIM)
    signed = m.fill(message.with_(raw_name_id=encrypt_name_id(message)), None, {})
    attack(
        name,
        "signature_invalid",
        "The EncryptedID of a signed Assertion is replaced by one that the attacker made.",
        signed.replace(cut(signed, "<saml:EncryptedID>", "</saml:EncryptedID>"), encrypt_name_id(other)),
        base="encrypted-id-assertion-aes128-gcm",
    )


def add_replay():
    real = alone(cut_assertion(genuine("assertion-signed")))
    put(
        "replay-encrypted-anew",
        "replay",
        "The signed Assertion of assertion-signed, encrypted by somebody who had it.",
        None,
        False,
        assertion_text=lambda x: real,
        after="assertion-signed",
        base="assertion-signed",
    )


def add_profile():
    put(
        "sealed-wrong-audience",
        "audience",
        "A signed and encrypted Assertion for another audience.",
        fields={"audiences": [["https://other-app.example.test"]]},
    )
    put(
        "sealed-expired",
        "expired",
        "A signed and encrypted Assertion that ended an hour ago.",
        fields={"not_on_or_after": m.at(-3600)},
    )
    put(
        "sealed-wrong-recipient",
        "recipient",
        "A signed and encrypted Assertion for another recipient.",
        fields={"recipient": "https://other-app.example.test/acs"},
    )
    put(
        "sealed-other-request",
        "in_response_to",
        "A signed and encrypted Assertion for another request.",
        fields={"confirmation_in_response_to": m.OTHER_REQUEST_ID},
    )


def add_all():
    add_unsigned()
    add_beside()
    add_inside()
    add_ciphers()
    add_shapes()
    add_parts()
    add_replay()
    add_profile()
