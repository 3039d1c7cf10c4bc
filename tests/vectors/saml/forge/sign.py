"""XML signatures over text: exact bytes in, exact bytes out, so that a case controls every prefix and every blank.

A message has a slot `[[sign:ID]]` at the place of the Signature. Signatures are made by OpenSSL (through cryptography);
ECDSA is the deterministic one of RFC 6979.
"""

import base64
import hashlib
import hmac as hmac_module

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from . import keys
from .canonical import EXC_C14N, canonicalize

DS = "http://www.w3.org/2000/09/xmldsig#"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"

DIGESTS = {
    "md5": (MORE + "md5", hashlib.md5),
    "sha1": (DS + "sha1", hashlib.sha1),
    "sha224": (MORE + "sha224", hashlib.sha224),
    "sha256": ("http://www.w3.org/2001/04/xmlenc#sha256", hashlib.sha256),
    "sha384": (MORE + "sha384", hashlib.sha384),
    "sha512": ("http://www.w3.org/2001/04/xmlenc#sha512", hashlib.sha512),
}
RSA_METHODS = {
    "md5": MORE + "rsa-md5",
    "sha1": DS + "rsa-sha1",
    "sha224": MORE + "rsa-sha224",
    "sha256": MORE + "rsa-sha256",
    "sha384": MORE + "rsa-sha384",
    "sha512": MORE + "rsa-sha512",
}
EC_METHODS = {
    "sha1": MORE + "ecdsa-sha1",
    "sha256": MORE + "ecdsa-sha256",
    "sha384": MORE + "ecdsa-sha384",
    "sha512": MORE + "ecdsa-sha512",
}
HASHES = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def parse_xml(text):
    data = text.encode() if isinstance(text, str) else text
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, load_dtd=False)
    return etree.fromstring(data, parser)


def encode(data):
    return base64.b64encode(data).decode()


def find_by_id(root, wanted):
    found = [e for e in root.iter(etree.Element) if e.get("ID") == wanted]
    assert found, f"no element with ID {wanted}"
    return found[0]


def canonical_without_signature(text, wanted, prefixes=None, method=EXC_C14N):
    """The octets that the two transforms leave of the element `wanted`, whose own slot is still empty."""
    return canonicalize(find_by_id(parse_xml(text.replace(slot(wanted), "")), wanted), prefixes, method)


def slot(wanted):
    return f"[[sign:{wanted}]]"


def sign_octets(key, digest, octets):
    """The raw signature as XML signatures carry it: PKCS #1 v1.5, or r and s side by side."""
    private = keys.load_key(key) if isinstance(key, str) else key
    algorithm = HASHES[digest]()
    if isinstance(private, ec.EllipticCurvePrivateKey):
        size = (private.curve.key_size + 7) // 8
        r, s = decode_dss_signature(private.sign(octets, ec.ECDSA(algorithm, deterministic_signing=True)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return private.sign(octets, padding.PKCS1v15(), algorithm)


def method_of(key, digest):
    private = keys.load_key(key)
    return (EC_METHODS if isinstance(private, ec.EllipticCurvePrivateKey) else RSA_METHODS)[digest]


def public_forms(name):
    """The forms of a public key that careless code may take for an HMAC secret."""
    public = keys.load_key(name).public_key()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    certificate = keys.certificate_of(name)
    return {
        "certificate-pem": keys.certificate_pem(name).encode(),
        "certificate-der": certificate.public_bytes(serialization.Encoding.DER),
        "certificate-base64": keys.certificate_base64(name).encode(),
        "spki-pem": public.public_bytes(serialization.Encoding.PEM, info),
        "spki-der": public.public_bytes(serialization.Encoding.DER, info),
        "empty": b"",
    }


def hmac_octets(secret, digest, octets):
    return hmac_module.new(secret, octets, DIGESTS[digest][1]).digest()


# ---- the pieces of a Signature


def transform(algorithm, body="", ds="ds:"):
    return (
        f'<{ds}Transform Algorithm="{algorithm}"/>'
        if not body
        else f'<{ds}Transform Algorithm="{algorithm}">{body}</{ds}Transform>'
    )


def plain_transforms(ds="ds:", prefixes=None):
    body = ""
    if prefixes:
        body = f'<ec:InclusiveNamespaces xmlns:ec="{EXC_C14N}" PrefixList="{" ".join(prefixes)}"/>'
    return transform(ENVELOPED, ds=ds) + transform(EXC_C14N, body, ds=ds)


def x509_key_info(*names, ds="ds:"):
    certificates = "".join(
        f"<{ds}X509Certificate>{keys.certificate_base64(n)}</{ds}X509Certificate>" for n in names
    )
    return f"<{ds}KeyInfo><{ds}X509Data>{certificates}</{ds}X509Data></{ds}KeyInfo>"


def key_value_info(name, ds="ds:"):
    public = keys.load_key(name).public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        curve = {"secp256r1": "1.2.840.10045.3.1.7", "secp384r1": "1.3.132.0.34"}[public.curve.name]
        point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        value = (
            '<dsig11:ECKeyValue xmlns:dsig11="http://www.w3.org/2009/xmldsig11#"><dsig11:NamedCurve '
            f'URI="urn:oid:{curve}"/><dsig11:PublicKey>{encode(point)}</dsig11:PublicKey></dsig11:ECKeyValue>'
        )
    else:
        numbers = public.public_numbers()
        modulus = encode(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big"))
        exponent = encode(numbers.e.to_bytes(3, "big"))
        value = (
            f"<{ds}RSAKeyValue><{ds}Modulus>{modulus}</{ds}Modulus><{ds}Exponent>{exponent}</{ds}Exponent>"
            f"</{ds}RSAKeyValue>"
        )
    return f"<{ds}KeyInfo><{ds}KeyValue>{value}</{ds}KeyValue></{ds}KeyInfo>"


def reference(uri, digest_value, digest="sha256", transforms=None, ds="ds:", attributes=""):
    listed = plain_transforms(ds) if transforms is None else transforms
    listed = f"<{ds}Transforms>{listed}</{ds}Transforms>" if listed else ""
    uri = "" if uri is None else f' URI="{uri}"'
    return (
        f'<{ds}Reference{uri}{attributes}>{listed}<{ds}DigestMethod Algorithm="{DIGESTS[digest][0]}"/>'
        f"<{ds}DigestValue>{digest_value}</{ds}DigestValue></{ds}Reference>"
    )


def digest_of(octets, digest="sha256"):
    return encode(DIGESTS[digest][1](octets).digest())


def sign(
    text,
    wanted,
    key="idp-rsa2048",
    *,
    digest="sha256",
    signature_digest=None,
    method=None,
    octets=None,
    references=None,
    transforms=None,
    prefixes=None,
    uri=False,
    ds="ds:",
    declaration=None,
    key_info=None,
    c14n=EXC_C14N,
    c14n_prefixes=None,
    edit_signed_info=None,
    raw=None,
    attributes="",
    wrap=None,
    reference_c14n=EXC_C14N,
    blank="",
):
    """Fills the slot of `wanted` with a Signature; each argument after `key` bends one part of it.

    `references` replaces the whole list of References, `edit_signed_info` the text of SignedInfo before it is
    canonicalized, `raw` makes the value of the canonical octets, `wrap` edits the finished Signature.
    """
    if octets is None and references is None:
        octets = canonical_without_signature(text, wanted, prefixes, reference_c14n)
    if references is None:
        listed = plain_transforms(ds, prefixes) if transforms is None else transforms
        references = reference(
            f"#{wanted}" if uri is False else uri, digest_of(octets, digest), digest, listed, ds
        )
    signature_digest = signature_digest or digest
    method = method or method_of(key, signature_digest)
    inclusive = ""
    if c14n_prefixes:
        inclusive = f'<ec:InclusiveNamespaces xmlns:ec="{EXC_C14N}" PrefixList="{" ".join(c14n_prefixes)}"/>'
    b = blank
    signed_info = (
        f"<{ds}SignedInfo>{b}<{ds}CanonicalizationMethod"
        f' Algorithm="{c14n}">{inclusive}</{ds}CanonicalizationMethod>{b}<{ds}SignatureMethod'
        f' Algorithm="{method}"/>{b}{references}{b}</{ds}SignedInfo>'
    )
    if edit_signed_info:
        signed_info = edit_signed_info(signed_info)
    if declaration is None:
        declaration = f' xmlns:{ds[:-1]}="{DS}"' if ds else f' xmlns="{DS}"'
    marker = "[[value]]"
    key_info = "" if key_info is None else key_info
    signature = (
        f"<{ds}Signature{declaration}{attributes}>{b}{signed_info}{b}<{ds}SignatureValue>{marker}</{ds}SignatureValue>"
        f"{b}{key_info}{b}</{ds}Signature>"
    )
    if wrap:
        signature = wrap(signature)
    filled = text.replace(slot(wanted), signature)
    octets = canonical_signed_info(filled, marker, c14n_prefixes, c14n)
    value = raw(octets) if raw else sign_octets(key, signature_digest, octets)
    return filled.replace(marker, encode(value))


def canonical_signed_info(text, marker, prefixes=None, method=EXC_C14N):
    """Canonicalizes the first SignedInfo beside the SignatureValue that still holds `marker`."""
    for element in parse_xml(text).iter(f"{{{DS}}}SignatureValue"):
        if element.text == marker:
            info = element.getparent().find(f"{{{DS}}}SignedInfo")
            return canonicalize(info, prefixes, method)
    raise AssertionError("no SignatureValue to fill")
