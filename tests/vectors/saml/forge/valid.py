"""Responses that must be accepted, with the identity that they carry."""

from . import message as m
from .case import to_base64, valid
from .encrypt import OAEP_11, encrypt_element
from .message import Attr
from .sign import DS, key_value_info, x509_key_info

XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def add_all():
    add_signatures()
    add_forms()
    add_names()
    add_values()
    add_profile()
    add_encrypted()
    add_fields()


def add_signatures():
    valid("response-signed", "The Response is signed, RSA-SHA256.", "response")
    valid("assertion-signed", "Only the Assertion is signed.", "assertion")
    valid("both-signed", "The Assertion is signed, then the Response around it.", "both")
    for key in ("rsa2048", "rsa3072", "rsa4096"):
        for digest in ("sha256", "sha384", "sha512"):
            if (key, digest) == ("rsa2048", "sha256"):
                continue
            valid(
                f"{key}-{digest}",
                f"Signed with {key} and {digest} for both digest and signature.",
                "assertion" if digest == "sha384" else "response",
                {"key": f"idp-{key}", "digest": digest},
                idp="acme" if key == "rsa2048" else key,
            )
    for key, digest in (("p256", "sha256"), ("p256", "sha384"), ("p384", "sha256"), ("p384", "sha384")):
        valid(
            f"ecdsa-{key}-{digest}",
            f"ECDSA on {key} with {digest}.",
            "both" if key == "p256" else "response",
            {"key": f"idp-{key}", "digest": digest},
            idp=key,
        )
    valid(
        "digest-sha512-signature-sha256",
        "The Reference is digested with SHA-512, SignedInfo signed with RSA-SHA256.",
        how={"digest": "sha512", "signature_digest": "sha256"},
    )
    valid(
        "sha1-by-switch",
        "RSA-SHA1 and SHA-1 digest at an IdP for which the switch allows SHA-1.",
        how={"digest": "sha1"},
        idp="acme-sha1",
    )
    valid(
        "rotated-second-certificate",
        "Two certificates are known; the second one's key signed.",
        how={"key": "idp-rsa2048-next"},
        idp="rotating",
    )
    valid(
        "rotated-first-certificate", "Two certificates are known; the first one's key signed.", idp="rotating"
    )
    for key, name in (
        ("idp-rsa2048", "rsa-first"),
        ("idp-p256", "p256-second"),
        ("idp-rsa3072", "rsa-third"),
        ("idp-p384", "p384-fourth"),
    ):
        valid(
            f"mixed-list-{name}",
            f"The list of certificates mixes RSA and EC; {key} signed.",
            "assertion",
            {"key": key},
            idp="mixed",
        )
    valid(
        "mixed-list-ec-first-rsa-signed",
        "The list has an EC certificate first; the RSA key behind it signed.",
        idp="mixed-ec-first",
    )
    for signed in ("response", "assertion", "both"):
        valid(
            f"keyinfo-x509data-{signed}",
            f"KeyInfo holds the signer's certificate; {signed} signed.",
            signed,
            {"key_info": x509_key_info("idp-rsa2048")},
        )
    valid(
        "keyinfo-x509data-ec",
        "KeyInfo holds the signer's EC certificate.",
        "both",
        {"key": "idp-p384", "digest": "sha384", "key_info": x509_key_info("idp-p384")},
        idp="p384",
    )
    valid("keyinfo-absent", "No KeyInfo at all.", how={"key_info": ""})
    valid(
        "keyinfo-keyvalue-rsa", "KeyInfo holds RSAKeyValue.", how={"key_info": key_value_info("idp-rsa2048")}
    )
    valid(
        "keyinfo-keyvalue-ec",
        "KeyInfo holds ECKeyValue.",
        how={"key": "idp-p256", "key_info": key_value_info("idp-p256")},
        idp="p256",
    )
    valid(
        "keyinfo-keyname",
        "KeyInfo holds a KeyName alone.",
        how={"key_info": "<ds:KeyInfo><ds:KeyName>signing-2026</ds:KeyName></ds:KeyInfo>"},
    )
    three = (
        "<ds:KeyInfo><ds:KeyName>signing-2026</ds:KeyName>"
        + x509_key_info("idp-rsa2048")[len("<ds:KeyInfo>") : -len("</ds:KeyInfo>")]
        + key_value_info("idp-rsa2048")[len("<ds:KeyInfo>") :]
    )
    valid(
        "keyinfo-three-kinds",
        "KeyInfo holds KeyName, X509Data and KeyValue, as Keycloak writes.",
        how={"key_info": three},
    )
    chain = x509_key_info("idp-rsa2048", "federation-rsa2048")
    valid(
        "keyinfo-chain", "X509Data holds the signer's certificate and another one.", how={"key_info": chain}
    )
    lines = x509_key_info("idp-rsa2048")
    start, end = lines.index("MII"), lines.index("</ds:X509Certificate>")
    certificate = "\n".join(lines[start:end][i : i + 64] for i in range(0, end - start, 64))
    valid(
        "keyinfo-certificate-in-lines",
        "The certificate in KeyInfo is broken into lines of 64 characters.",
        how={"key_info": lines[:start] + "\n" + certificate + "\n" + lines[end:]},
    )
    subject = (
        "<ds:KeyInfo><ds:X509Data><ds:X509SubjectName>CN=idp.example.test,O=Portcullis test"
        " corpus</ds:X509SubjectName>"
        "<ds:X509IssuerSerial><ds:X509IssuerName>CN=idp.example.test,O=Portcullis test"
        " corpus</ds:X509IssuerName>"
        "<ds:X509SerialNumber>1001</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data></ds:KeyInfo>"
    )
    valid(
        "keyinfo-issuer-serial",
        "X509Data names the certificate by subject, issuer and serial number.",
        how={"key_info": subject},
    )
    valid(
        "inclusive-namespaces-xs",
        'The exclusive canonicalization has PrefixList "xs"; xs is declared on the values only.',
        "assertion",
        {"prefixes": ["xs"]},
        attributes=[Attr("email", ["alice@example.test"], typed=True)],
    )
    valid(
        "inclusive-namespaces-root",
        "PrefixList names prefixes that only the root declares.",
        "assertion",
        {"prefixes": ["xs", "xsi"]},
        extra_root=f' xmlns:xs="{m.XS}" xmlns:xsi="{m.XSI}"',
        attributes=[
            Attr(
                "email",
                raw='<saml:AttributeValue xsi:type="xs:string">alice@example.test</saml:AttributeValue>',
            )
        ],
        expect={"attributes": {"email": ["alice@example.test"]}},
    )
    valid(
        "inclusive-namespaces-unused",
        "PrefixList names prefixes that nothing but the root declares and nothing uses.",
        "response",
        {"prefixes": ["xs", "xsi"]},
        extra_root=f' xmlns:xs="{m.XS}" xmlns:xsi="{m.XSI}"',
    )
    valid(
        "inclusive-namespaces-default",
        'PrefixList "#default saml" over a document whose default namespace is samlp.',
        "assertion",
        {"prefixes": ["#default", "saml"]},
        p="",
    )
    valid(
        "signature-with-id",
        "The Signature has an Id attribute of its own.",
        how={"attributes": ' Id="signature-1"'},
    )
    valid(
        "signature-value-in-lines",
        "SignatureValue is broken into lines, as Java writes it.",
        edit=break_signature_value,
    )


def break_signature_value(xml):
    start = xml.index("<ds:SignatureValue>") + len("<ds:SignatureValue>")
    end = xml.index("</ds:SignatureValue>")
    value = xml[start:end]
    return (
        xml[:start] + "\n" + "\n".join(value[i : i + 76] for i in range(0, len(value), 76)) + "\n" + xml[end:]
    )


def add_forms():
    for signed in ("response", "assertion", "both"):
        valid(
            f"pretty-printed-{signed}",
            f"Line breaks and blanks between all elements; {signed} signed.",
            signed,
            {"blank": "\n    "},
            blank="\n  ",
        )
    valid(
        "carriage-returns",
        "Lines end with CR LF; a parser reads LF, and so the signature was made.",
        edit=lambda xml: xml.replace("\n", "\r\n"),
        how={"blank": "\n  "},
        blank="\n  ",
    )
    valid("xml-declaration", "An XML declaration in front.", declaration=XML_DECLARATION)
    valid(
        "xml-declaration-lower-case",
        "An XML declaration that says utf-8 in lower case and standalone.",
        declaration="<?xml version='1.0' encoding='utf-8' standalone='yes'?>",
    )
    valid(
        "no-prefixes",
        "Default namespaces everywhere, declared again on each element that changes it.",
        "both",
        {"ds": ""},
        p="",
        a="",
    )
    valid(
        "assertion-default-namespace",
        "samlp is prefixed; Assertion and Issuer declare the default namespace, as AD FS does.",
        "assertion",
        a="",
    )
    valid("prefix-saml2", "Prefixes saml2p and saml2, as OpenSAML writes.", "both", p="saml2p:", a="saml2:")
    valid(
        "prefix-odd",
        "Prefixes that are legal and odd: _, a-b.c and é.",
        "both",
        {"ds": "_:"},
        p="a-b.c:",
        a="é:",
    )
    valid(
        "prefix-swapped",
        "The prefix saml means the protocol, samlp the assertion namespace, ds is called saml2.",
        "both",
        {"ds": "saml2:"},
        p="saml:",
        a="samlp:",
    )
    valid(
        "declared-on-each",
        "The assertion namespace is declared on each element that needs it, not on the root.",
        "both",
        declare_on_root=False,
    )
    valid(
        "declared-ds-on-root",
        "The signature namespace is declared on the root.",
        "response",
        {"declaration": ""},
        extra_root=f' xmlns:ds="{DS}"',
    )
    valid(
        "unused-namespaces",
        "The root declares namespaces that nothing uses.",
        "both",
        extra_root=' xmlns:a="urn:example:a" xmlns:b="http://example.test/b#" xmlns:xs="%s"' % m.XS,
    )
    valid(
        "attribute-value-foreign-element",
        "A value is an element of a foreign namespace.",
        attributes=[
            Attr(
                "email",
                raw=(
                    '<saml:AttributeValue><x:v xmlns:x="urn:example:x">alice@example.test</x:v>'
                    "</saml:AttributeValue>"
                ),
            )
        ],
        expect={"attributes": {}, "unspecified_attributes": ["email"]},
    )
    valid(
        "single-quotes",
        "Attributes are quoted with apostrophes and parted by line breaks.",
        edit=lambda xml: xml.replace(f' Destination="{m.ACS}"', f"\n\tDestination='{m.ACS}'\n"),
    )
    valid(
        "attribute-order",
        "Attributes of the Response stand in another order than canonical form has.",
        edit=lambda xml: reorder(xml),
    )
    valid(
        "empty-elements-written-out",
        "Elements without content are written with an end tag and blanks in the tags.",
        edit=lambda xml: xml.replace(
            f'<samlp:StatusCode Value="{m.SUCCESS}"/>',
            f'<samlp:StatusCode  Value="{m.SUCCESS}" ></samlp:StatusCode >',
        ),
    )
    valid(
        "character-references",
        "Letters of a value are written as decimal and hexadecimal character references.",
        attributes=[Attr("email", ["alice@example.test"])],
        edit=lambda xml: xml.replace(
            ">alice@example.test</saml:AttributeValue>",
            ">&#97;li&#x63;e&#x40;example.test</saml:AttributeValue>",
        ),
    )
    valid(
        "consent-attribute",
        "The Response has the Consent attribute, as AD FS sends it.",
        text=lambda x: x.response_text().replace(
            " Version=", ' Consent="urn:oasis:names:tc:SAML:2.0:consent:unspecified" Version=', 1
        ),
    )
    valid(
        "issuer-format",
        "Both Issuers have Format entity.",
        issuer_attributes=' Format="urn:oasis:names:tc:SAML:2.0:nameid-format:entity"',
    )
    valid(
        "extensions-foreign",
        "Extensions in the Response hold an element of a vendor and no SAML element.",
        extensions=(
            '<samlp:Extensions><v:hint xmlns:v="urn:example:vendor"'
            ' v:level="2">blue</v:hint></samlp:Extensions>'
        ),
    )
    valid(
        "status-nested-success",
        "StatusCode Success with a StatusMessage.",
        status=(
            "<samlp:Status><samlp:StatusCode"
            f' Value="{m.SUCCESS}"/><samlp:StatusMessage>Done</samlp:StatusMessage></samlp:Status>'
        ),
    )


def reorder(xml):
    old = f' Version="2.0" IssueInstant="{m.at(-2)}" Destination="{m.ACS}"'
    assert xml.count(old) == 1
    return xml.replace(old, f' Destination="{m.ACS}" IssueInstant="{m.at(-2)}" Version="2.0"')


def add_names():
    valid(
        "name-id-persistent",
        "A persistent NameID with both qualifiers.",
        "assertion",
        name_id="G7x9-Qm2_pairwise",
        name_id_format=m.PERSISTENT,
        name_id_attributes=f' NameQualifier="{m.IDP_ENTITY}" SPNameQualifier="{m.SP_ENTITY}"',
        expect={"name_qualifier": m.IDP_ENTITY, "sp_name_qualifier": m.SP_ENTITY},
    )
    valid(
        "name-id-persistent-bare",
        "A persistent NameID without qualifiers.",
        name_id="5f8e1c0a",
        name_id_format=m.PERSISTENT,
    )
    valid(
        "name-id-transient",
        "A transient NameID.",
        name_id="_b1946ac92492d2347c6235b4d2611184",
        name_id_format=m.TRANSIENT,
    )
    valid("name-id-unspecified", "Format unspecified.", name_id="alice", name_id_format=m.UNSPECIFIED)
    valid("name-id-no-format", "No Format attribute.", name_id="alice", name_id_format=None)

    valid(
        "name-id-sp-provided",
        "A persistent NameID with SPProvidedID.",
        name_id="8812",
        name_id_format=m.PERSISTENT,
        name_id_attributes=' SPProvidedID="emp-17"',
    )
    valid(
        "name-id-x509",
        "Format X509SubjectName with commas and an equals sign.",
        name_id="CN=Alice Example,O=Example\\, Inc.",
        name_id_format=m.FORMAT + "X509SubjectName",
    )
    valid(
        "name-id-escaped",
        "NameID with an ampersand and a less-than sign, escaped.",
        name_id="r&amp;d &lt;alice&gt;",
        name_id_format=m.UNSPECIFIED,
    )
    valid(
        "name-id-unicode",
        "NameID with an umlaut, Cyrillic and a letter outside the BMP.",
        name_id="jürgen.Ж.𝔄@example.test",
    )
    valid("name-id-long", "NameID of 256 characters.", name_id="a" * 243 + "@example.test")


def add_values():
    valid("attributes-none", "No AttributeStatement.", attributes=[])
    valid(
        "attribute-typed-string",
        "Values typed xs:string.",
        attributes=[
            Attr("email", ["alice@example.test"], m.BASIC, typed=True),
            Attr("groups", ["staff", "admins"], m.BASIC, typed=True),
        ],
    )
    valid(
        "attribute-empty-value",
        "An AttributeValue without content is the empty text.",
        attributes=[Attr("email", ["alice@example.test"]), Attr("department", [""])],
    )
    nil = f'<saml:AttributeValue xmlns:xsi="{m.XSI}" xsi:nil="true"/>'
    valid(
        "attribute-nil",
        "An AttributeValue with xsi:nil is no value; an attribute without values is left out.",
        attributes=[Attr("email", ["alice@example.test"]), Attr("manager", raw=nil)],
    )
    valid(
        "attribute-nil-beside-value",
        "One value is nil, the other is there.",
        attributes=[Attr("groups", ["staff"], raw=nil + "<saml:AttributeValue>staff</saml:AttributeValue>")],
    )
    valid(
        "attribute-without-value",
        "An Attribute element without AttributeValue.",
        attributes=[Attr("email", ["alice@example.test"]), Attr("title", [])],
    )
    valid(
        "attribute-same-name-twice",
        "Two Attribute elements of one Name, as Keycloak writes roles; values are merged in order.",
        attributes=[
            Attr("Role", ["viewer"], m.BASIC),
            Attr("email", ["alice@example.test"], m.BASIC),
            Attr("Role", ["editor"], m.BASIC),
            Attr("Role", ["auditor"], m.BASIC),
        ],
    )
    email, groups = Attr("email", ["alice@example.test"]), Attr("groups", ["staff"])
    two = "".join(
        f"<saml:AttributeStatement>{m.Message('x').attribute_text(x)}</saml:AttributeStatement>"
        for x in (email, groups)
    )
    valid(
        "attribute-two-statements",
        "Two AttributeStatements with an attribute each.",
        raw_attributes=two,
        attributes=[email, groups],
    )
    valid(
        "attribute-groups-400",
        "An attribute of 400 groups.",
        "assertion",
        attributes=[Attr("groups", [f"group-{i:03d}" for i in range(400)])],
    )
    valid(
        "attribute-groups-400-elements",
        "400 Attribute elements of one Name with one value each.",
        "response",
        attributes=[Attr("Role", [f"role-{i:03d}"]) for i in range(400)],
    )
    valid(
        "attribute-unicode",
        "Values outside the BMP, with combining marks, right to left, with zero-width joiner.",
        "both",
        attributes=[
            Attr(
                "displayName", ["Zoe\u0308 𝒜lice", "أليس", "אליס", "👩‍🔬", "李小龍", "A\u030angstro\u0308m"]
            ),
            Attr("straße", ["Ünter den Linden"]),
        ],
    )
    valid(
        "attribute-escaped",
        "Values with ampersand, less-than, greater-than, both quotes and ]]&gt; escaped.",
        attributes=[Attr("company", ["Smith & <Sons>", '"O\'Neill"', "]]>", "&amp;"])],
    )
    valid(
        "attribute-blanks-inside",
        "Values with blanks inside and a value of blanks between words.",
        attributes=[
            Attr("displayName", ["Alice  B.  Example"]),
            Attr("groups", ["Domain Users", "CN=Staff,OU=Groups,DC=example"]),
        ],
    )
    valid(
        "attribute-name-uri",
        "Attribute names that are URIs, with FriendlyName.",
        attributes=[
            Attr("urn:oid:0.9.2342.19200300.100.1.3", ["alice@example.test"], m.URI, "mail"),
            Attr("urn:oid:2.5.4.42", ["Alice"], m.URI, "givenName"),
        ],
    )
    valid(
        "attribute-nested-name-id",
        "A value that is an element: eduPersonTargetedID holds a NameID.",
        attributes=[
            Attr("email", ["alice@example.test"]),
            Attr(
                "urn:oid:1.3.6.1.4.1.5923.1.1.1.10",
                format=m.URI,
                friendly="eduPersonTargetedID",
                raw=(
                    f'<saml:AttributeValue><saml:NameID Format="{m.PERSISTENT}"'
                    f' NameQualifier="{m.IDP_ENTITY}"'
                    f' SPNameQualifier="{m.SP_ENTITY}">t7yq</saml:NameID></saml:AttributeValue>'
                ),
            ),
        ],
        expect={"unspecified_attributes": ["urn:oid:1.3.6.1.4.1.5923.1.1.1.10"]},
    )
    valid(
        "attribute-extra-xml-attributes",
        "Attribute elements with a foreign attribute, as SAML allows.",
        attributes=[Attr("email", ["alice@example.test"])],
        text=lambda x: x.response_text().replace(
            '<saml:Attribute Name="email"',
            '<saml:Attribute xmlns:v="urn:example:vendor" v:source="ldap" Name="email"',
        ),
    )
    valid(
        "message-270kb",
        "270,000 characters in Extensions of a signed Response: large and within bounds.",
        repeated="lorem,",
        extensions=(
            f'<samlp:Extensions><v:x xmlns:v="urn:example:v">{"lorem," * 45000}</v:x></samlp:Extensions>'
        ),
    )


def add_profile():
    valid(
        "session-end",
        "SessionNotOnOrAfter eight hours ahead.",
        session_expires=m.at(8 * 3600),
        expect={"session_end": m.at_ms(8 * 3600)},
    )
    valid("session-index-absent", "No SessionIndex.", session_index=None)
    valid(
        "audience-several",
        "One AudienceRestriction with three Audiences, ours among them.",
        audiences=[["https://a.example.test", m.SP_ENTITY, "https://b.example.test"]],
    )
    valid(
        "audience-restrictions-all-ours",
        "Three AudienceRestrictions, each names us.",
        audiences=[
            [m.SP_ENTITY],
            ["https://a.example.test", m.SP_ENTITY],
            [m.SP_ENTITY, "https://b.example.test"],
        ],
    )
    other = m.Message("x")
    valid(
        "confirmation-second-usable",
        "Two bearer confirmations; the first is for another recipient.",
        "assertion",
        raw_confirmations=other.confirmation_text(recipient="https://other.example.test/acs")
        + other.confirmation_text(),
    )
    valid(
        "confirmation-first-usable",
        "Two confirmations; the first is ours, the second is sender-vouches.",
        "assertion",
        raw_confirmations=other.confirmation_text()
        + '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"/>',
    )
    valid(
        "confirmation-expired-beside-good",
        "Two bearer confirmations; the first has expired.",
        raw_confirmations=other.confirmation_text(confirmation_expires=m.at(-900))
        + other.confirmation_text(),
    )
    valid(
        "confirmation-address",
        "SubjectConfirmationData has an Address.",
        text=lambda x: x.response_text().replace(
            "<saml:SubjectConfirmationData ", '<saml:SubjectConfirmationData Address="192.0.2.17" '
        ),
    )
    valid("conditions-one-time-use", "Conditions hold OneTimeUse.", extra_conditions="<saml:OneTimeUse/>")
    valid(
        "conditions-proxy-restriction",
        "Conditions hold ProxyRestriction.",
        extra_conditions=(
            '<saml:ProxyRestriction Count="0"><saml:Audience>https://a.example.test</saml:Audience>'
            "</saml:ProxyRestriction>"
        ),
    )
    valid("conditions-without-not-before", "Conditions have no NotBefore.", not_before=None)
    valid(
        "idp-initiated",
        "Unsolicited: no InResponseTo anywhere, at an IdP for which it is allowed.",
        "response",
        idp="acme-open",
        request_id=None,
        response_in_response_to=None,
        confirmation_in_response_to=None,
    )
    valid(
        "idp-initiated-assertion-signed",
        "Unsolicited, only the Assertion is signed.",
        "assertion",
        idp="acme-open",
        request_id=None,
        response_in_response_to=None,
        confirmation_in_response_to=None,
    )
    valid(
        "solicited-where-unsolicited-allowed",
        "Solicited, at an IdP that may also send unsolicited Responses.",
        idp="acme-open",
    )
    valid(
        "destination-absent-assertion-signed",
        "No Destination; only the Assertion is signed.",
        "assertion",
        destination=None,
    )
    valid(
        "authn-context-authority",
        "AuthnContext names an AuthenticatingAuthority.",
        text=lambda x: x.response_text().replace(
            "</saml:AuthnContext>",
            "<saml:AuthenticatingAuthority>https://upstream.example.test</saml:AuthenticatingAuthority></saml:AuthnContext>",
        ),
    )
    valid(
        "authn-context-entra",
        "AuthnContextClassRef Password, as Entra ID answers whatever was asked.",
        authn_context="urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
    )
    valid(
        "authn-subject-locality",
        "AuthnStatement has SubjectLocality.",
        text=lambda x: x.response_text().replace(
            "<saml:AuthnContext>",
            '<saml:SubjectLocality Address="192.0.2.17" DNSName="client.example.test"/><saml:AuthnContext>',
        ),
    )
    valid(
        "advice-empty",
        "The Assertion has an Advice with a foreign element.",
        advice='<saml:Advice><v:note xmlns:v="urn:example:vendor">x</v:note></saml:Advice>',
    )
    for digits in (0, 6, 7):
        valid(
            f"time-digits-{digits}",
            f"All times with {digits} digits of a second's fraction.",
            response_issued=m.at(-2, digits),
            assertion_issued=m.at(-2, digits),
            not_before=m.at(-60, digits),
            not_on_or_after=m.at(300, digits),
            confirmation_expires=m.at(300, digits),
            authn_instant=m.at(-5, digits),
            session_expires=m.at(3600, digits),
            expect={"session_end": m.at_ms(3600)},
        )
    valid(
        "skew-conditions-ended",
        "Conditions ended 179 s ago; the skew of 180 s covers it.",
        not_on_or_after=m.at(-179),
    )
    valid("skew-confirmation-ended", "The confirmation ended 179 s ago.", confirmation_expires=m.at(-179))
    valid("skew-not-yet-begun", "Conditions begin in 179 s.", not_before=m.at(179))
    valid(
        "skew-issued-ahead",
        "The IdP's clock is 179 s ahead: both IssueInstants lie in the future.",
        response_issued=m.at(179),
        assertion_issued=m.at(179),
        not_before=m.at(119),
        authn_instant=m.at(176),
    )
    valid(
        "issued-nine-minutes-ago",
        "Both IssueInstants are 9 minutes 50 seconds old.",
        response_issued=m.at(-590),
        assertion_issued=m.at(-590),
        authn_instant=m.at(-600),
    )
    valid(
        "other-idp",
        "A Response of the other IdP, at the other IdP.",
        idp="other",
        how={"key": "other-idp-rsa2048"},
    )


SHAPES = {
    "aes128-gcm": dict(cipher="aes128-gcm"),
    "aes256-gcm": dict(cipher="aes256-gcm"),
    "aes128-cbc": dict(cipher="aes128-cbc"),
    "aes256-cbc": dict(cipher="aes256-cbc"),
    "oaep-digest-said": dict(cipher="aes128-gcm", say_digest=True),
    "oaep-mgf1p-sha256": dict(cipher="aes256-gcm", digest="sha256"),
    "oaep11-sha256": dict(cipher="aes256-gcm", transport=OAEP_11, digest="sha256", mgf="sha256"),
    "oaep11-sha256-mgf-sha1": dict(cipher="aes128-gcm", transport=OAEP_11, digest="sha256", mgf="sha1"),
    "key-beside": dict(cipher="aes256-gcm", place="beside"),
    "with-ids": dict(
        cipher="aes128-gcm",
        data_id="_data-1",
        key_id="_key-1",
        key_recipient=m.SP_ENTITY,
        key_name="sp-current",
    ),
    "no-type": dict(cipher="aes128-gcm", kind=""),
    "no-prefix": dict(cipher="aes128-gcm", xenc=""),
    "next-key": dict(cipher="aes256-gcm", recipient="sp-next"),
}


def encrypted_text(message, inner=None, assertion_text=None, **shape):
    """The Response with its Assertion encrypted; `inner` are the arguments of its own signature, or None."""
    plain = message.assertion_text(alone=True) if assertion_text is None else assertion_text
    plain = plain if isinstance(plain, bytes) else m.fill(message, None, inner, text=plain)
    sealed = encrypt_element(plain, message.name, **shape)
    a = message.a
    return message.with_(
        assertions=f"<{a}EncryptedAssertion>{sealed}</{a}EncryptedAssertion>"
    ).response_text()


def encrypted(name, signed="response", inner=False, fields=None, how=None, assertion_text=None, **shape):
    """A Message and its encrypted, signed text. `signed` is about the Response, `inner` about the Assertion."""
    message = m.Message(name, **(fields or {}))
    how = {"key": "idp-rsa2048"} | (how or {})
    text = encrypted_text(
        message, how if inner else None, assertion_text(message) if assertion_text else None, **shape
    )
    return message, m.fill(message, how if signed else None, None, text=text)


def add_encrypted():
    from .case import Case, accepted, add

    def put(name, why, signed="response", inner=False, idp="acme", **rest):
        message, xml = encrypted(name, signed, inner, **rest)
        add(Case(name, why, accepted(message), xml, idp=idp))

    for name, shape in SHAPES.items():
        put(f"encrypted-{name}", f"The Assertion is encrypted ({name}) under a signed Response.", **shape)
    for name in ("aes256-gcm", "oaep11-sha256", "key-beside", "next-key"):
        put(
            f"encrypted-inside-signed-{name}",
            f"Signed Assertion, encrypted ({name}) in an unsigned Response.",
            None,
            True,
            **SHAPES[name],
        )
    for name in ("aes256-gcm", "aes128-cbc"):
        put(
            f"encrypted-both-signed-{name}",
            f"Signed Assertion, encrypted ({name}) in a signed Response.",
            "response",
            True,
            **SHAPES[name],
        )
    put(
        "encrypted-cbc-by-switch",
        "AES-256-CBC under an unsigned Response, Assertion signed, at an IdP whose switch allows CBC.",
        None,
        True,
        "acme-cbc",
        cipher="aes256-cbc",
    )
    put(
        "encrypted-pretty-printed",
        "The Assertion was pretty-printed before it was signed and encrypted.",
        None,
        True,
        cipher="aes128-gcm",
        fields={"blank": "\n  "},
    )
    put(
        "encrypted-groups-400",
        "400 groups, three of them beyond ASCII, in an encrypted Assertion.",
        None,
        True,
        cipher="aes256-gcm",
        fields={
            "attributes": [
                Attr("groups", ["Zoe\u0308 𝒜lice", "أليس", "👩‍🔬"] + [f"g-{i:03d}" for i in range(397)])
            ]
        },
    )
    add_encrypted_parts()


def encrypt_name_id(message, **shape):
    plain = (
        f'<saml:NameID xmlns:saml="{m.SAML}"'
        f' Format="{message.name_id_format}">{message.name_id}</saml:NameID>'
    )
    return f"<saml:EncryptedID>{encrypt_element(plain, message.name, **shape)}</saml:EncryptedID>"


def encrypt_attribute(message, x, **shape):
    plain = message.attribute_text(x, f' xmlns:saml="{m.SAML}"')
    return f"<saml:EncryptedAttribute>{encrypt_element(plain, message.name + x.name, **shape)}</saml:EncryptedAttribute>"


def add_encrypted_parts():
    for signed, shape in (
        ("response", "aes256-gcm"),
        ("assertion", "aes128-gcm"),
        ("assertion", "key-beside"),
        ("response", "aes128-cbc"),
    ):
        name = f"encrypted-id-{signed}-{shape}"
        sealed = encrypt_name_id(m.Message(name), **SHAPES[shape])
        valid(name, f"EncryptedID ({shape}) in a signed {signed}.", signed, raw_name_id=sealed)
    for signed, shape in (("response", "aes256-gcm"), ("assertion", "oaep11-sha256")):
        name = f"encrypted-attribute-{signed}-{shape}"
        message = m.Message(name)
        listed = message.attribute_text(message.attributes[0]) + encrypt_attribute(
            message, message.attributes[1], **SHAPES[shape]
        )
        valid(
            name,
            f"One Attribute plain, one encrypted ({shape}), in a signed {signed}.",
            signed,
            raw_attributes=f"<saml:AttributeStatement>{listed}</saml:AttributeStatement>",
        )
    name = "encrypted-id-and-attribute-inside-encrypted"
    message = m.Message(name)
    listed = encrypt_attribute(
        message, message.attributes[0], **SHAPES["aes128-gcm"]
    ) + message.attribute_text(message.attributes[1])
    from .case import Case, accepted, add

    built, xml = encrypted(
        name,
        None,
        True,
        fields={
            "raw_name_id": encrypt_name_id(message, **SHAPES["aes128-gcm"]),
            "raw_attributes": f"<saml:AttributeStatement>{listed}</saml:AttributeStatement>",
        },
        cipher="aes256-gcm",
    )
    add(
        Case(
            name,
            "EncryptedID and EncryptedAttribute inside a signed and encrypted Assertion.",
            accepted(built),
            xml,
        )
    )


def add_fields():
    def lines(xml):
        text = to_base64(xml)
        return "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)) + "\r\n"

    valid(
        "field-lines-76",
        "The form field is base64 in lines of 76 characters with CR LF.",
        field=lines,
        encoding="base64 in lines of 76, CR LF",
    )
    valid(
        "field-blanks",
        "The form field has blanks, tabs and line feeds around the base64 text.",
        field=lambda xml: " \t\n" + to_base64(xml) + "\n \n",
        encoding="base64 within white space",
    )
