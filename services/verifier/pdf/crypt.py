"""The standard security handler, opened with the empty user password (ISO 32000-2 clause 7.6)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from services.verifier.pdf.syntax import Misformed, Stream, Value

_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


class Locked(Exception):
    """The file is not opened by the empty user password, or not encrypted in a way that this module knows."""


class Key:
    """Deciphers the strings and streams of one file."""

    def __init__(self, encrypt: dict[str, Value], first_id: bytes) -> None:
        """`encrypt` is the encryption dictionary with direct values; `first_id` the first part of `/ID`.

        Raises:
            Locked: the empty user password does not open it.
        """
        version, revision = encrypt.get("V"), encrypt.get("R")
        if encrypt.get("Filter") != "Standard" or version not in (1, 2, 4, 5) or revision not in (2, 3, 4, 5, 6):
            raise Locked("handler")
        self._revision = int(revision)
        self.metadata = encrypt.get("EncryptMetadata") is not False
        self._strings = self._streams = "V2"
        if version in (4, 5):
            self._strings = _method(encrypt, "StrF")
            self._streams = _method(encrypt, "StmF")
        bits = 40 if version == 1 else encrypt.get("Length", 128 if version == 4 else 40)
        if version == 4:
            bits = 128
        if type(bits) is not int or bits % 8 or not 40 <= bits <= 256:
            raise Locked("key length")
        owner, user = encrypt.get("O"), encrypt.get("U")
        if not isinstance(owner, bytes) or not isinstance(user, bytes):
            raise Locked("passwords")
        if self._revision >= 5:
            self._key = _modern(encrypt, user, self._revision)
        else:
            permissions = encrypt.get("P")
            if type(permissions) is not int:
                raise Locked("permissions")
            self._key = _classic(owner, user, permissions, first_id, bits // 8, self._revision, self.metadata)

    def _cipher(self, number: int, generation: int, method: str, data: bytes) -> bytes:
        if method == "Identity":
            return data
        key = self._key
        if self._revision < 5:
            salt = number.to_bytes(4, "little")[:3] + generation.to_bytes(4, "little")[:2]
            if method == "AESV2":
                salt += b"sAlT"
            size = min(len(key) + 5, 16)
            key = hashlib.md5(key + salt, usedforsecurity=False).digest()[:size]
        if method == "V2":
            return _rc4(key, data)
        return _aes(key, data)

    def stream(self, stream: Stream, number: int, generation: int) -> None:
        """Lets a stream decipher itself."""
        dictionary = stream.dictionary
        kind = dictionary.get("Type")
        if kind == "XRef" or (kind == "Metadata" and not self.metadata):
            return
        filters = dictionary.get("Filter")
        if filters == "Crypt" or (isinstance(filters, list) and "Crypt" in filters):
            return
        stream.cipher = lambda data: self._cipher(number, generation, self._streams, data)

    def strings(self, value: Value, number: int, generation: int) -> Value:
        """The same value with its strings deciphered; the `/Contents` of a signature stays (7.6.2)."""
        if isinstance(value, bytes):
            return self._text(value, number, generation)
        work = [value]
        while work:
            one = work.pop()
            if isinstance(one, Stream):
                one = one.dictionary
            if isinstance(one, dict):
                signature = "ByteRange" in one
                for key, each in one.items():
                    if isinstance(each, bytes):
                        if not (signature and key == "Contents"):
                            one[key] = self._text(each, number, generation)
                    elif isinstance(each, dict | list):
                        work.append(each)
            elif isinstance(one, list):
                for index, each in enumerate(one):
                    if isinstance(each, bytes):
                        one[index] = self._text(each, number, generation)
                    elif isinstance(each, dict | list):
                        work.append(each)
        return value

    def _text(self, data: bytes, number: int, generation: int) -> bytes:
        try:
            return self._cipher(number, generation, self._strings, data)
        except Misformed:
            return data


def _method(encrypt: dict[str, Value], which: str) -> str:
    name = encrypt.get(which, "Identity")
    if name == "Identity":
        return "Identity"
    filters = encrypt.get("CF")
    found = filters.get(name) if isinstance(filters, dict) and isinstance(name, str) else None
    method = found.get("CFM", "None") if isinstance(found, dict) else None
    if method in ("V2", "AESV2", "AESV3"):
        return str(method)
    if method == "None":
        return "Identity"
    raise Locked("crypt filter")


def _rc4(key: bytes, data: bytes) -> bytes:
    machine: Any = Cipher(ARC4(key), mode=None).decryptor()
    return bytes(machine.update(data) + machine.finalize())


def _cbc(key: bytes, vector: bytes, data: bytes, encrypt: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(vector))
    machine = cipher.encryptor() if encrypt else cipher.decryptor()
    return machine.update(data) + machine.finalize()


def _aes(key: bytes, data: bytes) -> bytes:
    if len(data) < 16:
        return b""
    body = data[16:]
    if not body:
        return b""
    if len(body) % 16:
        body = body[: len(body) - len(body) % 16]
    plain = _cbc(key, data[:16], body)
    pad = plain[-1] if plain else 0
    return plain[:-pad] if 1 <= pad <= 16 else plain


def _classic(
    owner: bytes, user: bytes, permissions: int, first_id: bytes, size: int, revision: int, metadata: bool
) -> bytes:
    """Algorithm 2 for the empty password, checked by algorithms 4 and 5."""
    seed = _PADDING + owner[:32] + (permissions & 0xFFFFFFFF).to_bytes(4, "little") + first_id
    if revision >= 4 and not metadata:
        seed += b"\xff\xff\xff\xff"
    key = hashlib.md5(seed, usedforsecurity=False).digest()
    size = 5 if revision == 2 else min(size, 16)
    if revision >= 3:
        for _ in range(50):
            key = hashlib.md5(key[:size], usedforsecurity=False).digest()
    key = key[:size]
    if revision == 2:
        good = _rc4(key, _PADDING) == user[:32]
    else:
        check = hashlib.md5(_PADDING + first_id, usedforsecurity=False).digest()
        for turn in range(20):
            check = _rc4(bytes(octet ^ turn for octet in key), check)
        good = check == user[:16]
    if not good:
        raise Locked("password")
    return key


def _modern(encrypt: dict[str, Value], user: bytes, revision: int) -> bytes:
    """Algorithm 2.A for the empty password."""
    sealed = encrypt.get("UE")
    if len(user) < 48 or not isinstance(sealed, bytes) or len(sealed) < 32:
        raise Locked("passwords")
    check, validation, salt = user[:32], user[32:40], user[40:48]
    mix = _hash_r6 if revision == 6 else _hash_r5
    if not hmac.compare_digest(mix(validation), check):
        raise Locked("password")
    return _cbc(mix(salt), bytes(16), sealed[:32])


def _hash_r5(salt: bytes) -> bytes:
    return hashlib.sha256(salt).digest()


def _hash_r6(salt: bytes) -> bytes:
    """Algorithm 2.B for the empty password."""
    key = hashlib.sha256(salt).digest()
    turn = 0
    while True:
        block = _cbc(key[:16], key[16:32], key * 64, encrypt=True)
        kind = sum(block[:16]) % 3
        key = (hashlib.sha256, hashlib.sha384, hashlib.sha512)[kind](block).digest()
        turn += 1
        if turn >= 64 and block[-1] <= turn - 32:
            return key[:32]
