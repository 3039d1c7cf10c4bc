"""XML encryption with seeded randomness. OAEP is written out here because no library takes its seed."""

import hashlib
import random

from cryptography.hazmat.primitives import padding as block_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import keys
from .sign import DS, encode

XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
OAEP_MGF1P = XENC + "rsa-oaep-mgf1p"
OAEP_11 = XENC11 + "rsa-oaep"
RSA_15 = XENC + "rsa-1_5"

CIPHERS = {
    "aes128-gcm": (XENC11 + "aes128-gcm", 16),
    "aes192-gcm": (XENC11 + "aes192-gcm", 24),
    "aes256-gcm": (XENC11 + "aes256-gcm", 32),
    "aes128-cbc": (XENC + "aes128-cbc", 16),
    "aes256-cbc": (XENC + "aes256-cbc", 32),
    "tripledes-cbc": (XENC + "tripledes-cbc", 24),
}
OAEP_DIGESTS = {"sha1": DS + "sha1", "sha256": XENC + "sha256", "sha512": XENC + "sha512"}
MGFS = {"sha1": XENC11 + "mgf1sha1", "sha256": XENC11 + "mgf1sha256", "sha512": XENC11 + "mgf1sha512"}


def mask(seed, length, digest):
    out = b""
    for counter in range(length):
        if len(out) >= length:
            break
        out += hashlib.new(digest, seed + counter.to_bytes(4, "big")).digest()
    return out[:length]


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def pad_oaep(message, size, digest, mgf, rng):
    """EME-OAEP of RFC 8017 §7.1.1 with an empty label."""
    empty = hashlib.new(digest, b"").digest()
    block = empty + bytes(size - len(message) - 2 * len(empty) - 2) + b"\x01" + message
    seed = rng.randbytes(len(empty))
    masked = xor(block, mask(seed, len(block), mgf))
    return b"\x00" + xor(seed, mask(masked, len(seed), mgf)) + masked


def pad_pkcs1(message, size, rng):
    filler = bytes(rng.randrange(1, 256) for _ in range(size - len(message) - 3))
    return b"\x00\x02" + filler + b"\x00" + message


def wrap_key(secret, recipient, transport, digest, mgf, rng):
    numbers = keys.load_key(recipient).public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    padded = pad_pkcs1(secret, size, rng) if transport == RSA_15 else pad_oaep(secret, size, digest, mgf, rng)
    return pow(int.from_bytes(padded, "big"), numbers.e, numbers.n).to_bytes(size, "big")


def seal_text(cipher, secret, plaintext, rng):
    if cipher.endswith("-gcm"):
        nonce = rng.randbytes(12)
        return nonce + AESGCM(secret).encrypt(nonce, plaintext, None)
    if cipher == "tripledes-cbc":
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

        block, algorithm = 8, TripleDES(secret)
    else:
        block, algorithm = 16, algorithms.AES(secret)
    padder = block_padding.ANSIX923(block * 8).padder()
    iv = rng.randbytes(block)
    encryptor = Cipher(algorithm, modes.CBC(iv)).encryptor()
    return iv + encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def encrypt_element(
    plaintext,
    seed,
    *,
    cipher="aes256-gcm",
    transport=OAEP_MGF1P,
    digest="sha1",
    mgf="sha1",
    say_digest=False,
    recipient="sp-current",
    place="inside",
    kind="Element",
    edit_secret=None,
    edit_wrapped=None,
    edit_sealed=None,
    xenc="xenc:",
    data_id="",
    key_id="",
    key_recipient="",
    transport_body=None,
    key_name="",
):
    """EncryptedData and EncryptedKey for `plaintext`, the key beside or inside the data's KeyInfo.

    Returns one text, to be put into EncryptedAssertion, EncryptedID or EncryptedAttribute. The `edit_` functions
    spoil one part after it was made well.
    """
    rng = random.Random(seed)
    uri, size = CIPHERS[cipher]
    secret = rng.randbytes(size)
    data = plaintext.encode() if isinstance(plaintext, str) else plaintext
    sealed = seal_text(cipher, secret, data, rng)
    wrapped = wrap_key(edit_secret(secret) if edit_secret else secret, recipient, transport, digest, mgf, rng)
    sealed = edit_sealed(sealed) if edit_sealed else sealed
    wrapped = edit_wrapped(wrapped) if edit_wrapped else wrapped
    body = ""
    if say_digest or digest != "sha1":
        body += f'<ds:DigestMethod xmlns:ds="{DS}" Algorithm="{OAEP_DIGESTS[digest]}"/>'
    if transport == OAEP_11:
        body += f'<xenc11:MGF xmlns:xenc11="{XENC11}" Algorithm="{MGFS[mgf]}"/>'
    body = body if transport_body is None else transport_body
    named = (
        f'<ds:KeyInfo xmlns:ds="{DS}"><ds:KeyName>{key_name}</ds:KeyName></ds:KeyInfo>' if key_name else ""
    )
    declared = f' xmlns:{xenc[:-1]}="{XENC}"' if xenc else f' xmlns="{XENC}"'
    key = (
        f"<{xenc}EncryptedKey{declared}{attribute('Id', key_id)}{attribute('Recipient', key_recipient)}>"
        f'<{xenc}EncryptionMethod Algorithm="{transport}">{body}</{xenc}EncryptionMethod>{named}'
        f"<{xenc}CipherData><{xenc}CipherValue>{encode(wrapped)}</{xenc}CipherValue></{xenc}CipherData>"
        f"</{xenc}EncryptedKey>"
    )
    inside = f'<ds:KeyInfo xmlns:ds="{DS}">{key}</ds:KeyInfo>' if place == "inside" else ""
    typed = f' Type="{XENC}{kind}"' if kind else ""
    out = (
        f"<{xenc}EncryptedData{declared}{attribute('Id', data_id)}{typed}>"
        f'<{xenc}EncryptionMethod Algorithm="{uri}"/>{inside}'
        f"<{xenc}CipherData><{xenc}CipherValue>{encode(sealed)}</{xenc}CipherValue></{xenc}CipherData>"
        f"</{xenc}EncryptedData>"
    )
    return out + (key if place == "beside" else "")


def attribute(name, value):
    return f' {name}="{value}"' if value else ""
