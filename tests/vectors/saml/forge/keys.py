"""Keys and certificates of the corpus: made once, committed as PEM, never used for anything else."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

FOLDER = Path(__file__).resolve().parent.parent / "keys"

IDP_SUBJECT = "idp.example.test"

# name: (kind, common name). A certificate of the attacker bears the IdP's own subject.
KEYS = {
    "idp-rsa2048": (2048, IDP_SUBJECT),
    "idp-rsa2048-next": (2048, IDP_SUBJECT),
    "idp-rsa2048-retired": (2048, IDP_SUBJECT),
    "idp-rsa2048-encryption": (2048, IDP_SUBJECT),
    "idp-rsa3072": (3072, IDP_SUBJECT),
    "idp-rsa4096": (4096, IDP_SUBJECT),
    "idp-rsa1024": (1024, IDP_SUBJECT),
    "idp-p256": ("p256", IDP_SUBJECT),
    "idp-p384": ("p384", IDP_SUBJECT),
    "other-idp-rsa2048": (2048, "other-idp.example.test"),
    "attacker-rsa2048": (2048, IDP_SUBJECT),
    "attacker-p256": ("p256", IDP_SUBJECT),
    "sp-current": (2048, "app.example.test"),
    "sp-next": (2048, "app.example.test"),
    "sp-foreign": (2048, "foreign-app.example.test"),
    "federation-rsa2048": (2048, "federation.example.test"),
}

VALID_FROM = datetime.datetime(2024, 1, 1)
VALID_UNTIL = datetime.datetime(2044, 1, 1)
EXPIRED = datetime.datetime(2025, 1, 1)


def make_key(kind):
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=kind)


def make_certificate(key, name, serial, until=VALID_UNTIL):
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Portcullis test corpus"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(VALID_FROM)
        .not_valid_after(until)
    )
    return builder.sign(key, hashes.SHA256())


def write_missing():
    """Makes what is not there yet; what is there is never replaced."""
    FOLDER.mkdir(exist_ok=True)
    for serial, (name, (kind, subject)) in enumerate(KEYS.items(), start=1001):
        path = FOLDER / f"{name}.key.pem"
        if not path.exists():
            path.write_bytes(
                make_key(kind).private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        cert_path = FOLDER / f"{name}.cert.pem"
        if not cert_path.exists():
            certificate = make_certificate(load_key(name), subject, serial)
            cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    expired = FOLDER / "idp-rsa2048-expired.cert.pem"
    if not expired.exists():
        certificate = make_certificate(load_key("idp-rsa2048"), IDP_SUBJECT, 999, EXPIRED)
        expired.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


_loaded = {}


def load_key(name):
    if name not in _loaded:
        _loaded[name] = serialization.load_pem_private_key((FOLDER / f"{name}.key.pem").read_bytes(), None)
    return _loaded[name]


def certificate_pem(name):
    return (FOLDER / f"{name}.cert.pem").read_text()


def certificate_base64(name):
    """The certificate as metadata and KeyInfo carry it: base64 without armour or line breaks."""
    return "".join(line for line in certificate_pem(name).splitlines() if not line.startswith("-----"))


def certificate_of(name):
    return x509.load_pem_x509_certificate(certificate_pem(name).encode())
