"""Which algorithms may carry a signature, each answer citing its clause; pure rules, no I/O.

Sources: Circular 15/2025/TT-BKHCN App. I (mandatory list for signatures in Vietnam), ETSI TS 119 312 (cryptographic
suites), RFC 8017 (RSA), FIPS 186-5 (ECDSA, EdDSA), RFC 6151 (MD5), NIST SP 800-131A rev. 2 (SHA-1, key sizes).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

APPENDIX_I = "Circular 15/2025/TT-BKHCN App. I"
SUITES = "ETSI TS 119 312"
SP800_131A = "NIST SP 800-131A rev. 2"

LONGEST_SUBSCRIBER_LIFE = timedelta(days=1096)
"""Decree 23/2025/ND-CP Art 4: a subscriber's certificate lives at most three years."""


class Grade(StrEnum):
    """How an algorithm stands. Ordered from best to worst by `worst`."""

    ACCEPTED = "accepted"
    NOTICE = "notice"
    """Accepted on validation, but the reader is told."""
    UNLISTED = "unlisted"
    """Not known to be broken, but no rule allows it: a verdict cannot rest on it."""
    FORBIDDEN = "forbidden"
    """Broken or far too short: a signature under it proves nothing."""


_ORDER = tuple(Grade)


@dataclass(frozen=True)
class Acceptance:
    """The grade of one algorithm, what it is in words that mean the same in any language, and the clause."""

    grade: Grade
    algorithm: str
    clause: str


_LISTED_DIGESTS = frozenset(
    {
        "sha256",
        "sha384",
        "sha512",
        "sha512_224",
        "sha512_256",
        "sha3_224",
        "sha3_256",
        "sha3_384",
        "sha3_512",
        "shake128",
        "shake256",
    }
)
_BROKEN_DIGESTS = {"md2": SUITES, "md4": SUITES, "md5": "RFC 6151", "sha1": SP800_131A}

_CURVE_BITS = {
    "secp192r1": 192,
    "secp224r1": 224,
    "secp256r1": 256,
    "secp384r1": 384,
    "secp521r1": 521,
    "brainpoolp256r1": 256,
    "brainpoolp320r1": 320,
    "brainpoolp384r1": 384,
    "brainpoolp512r1": 512,
    "secp256k1": 256,
}
_SUITE_CURVES = frozenset(
    {
        "secp256r1",
        "secp384r1",
        "secp521r1",
        "brainpoolp256r1",
        "brainpoolp320r1",
        "brainpoolp384r1",
        "brainpoolp512r1",
    }
)


def digest(name: str) -> Acceptance:
    """How the digest algorithm `name` (as `sha256`, `sha512_256`, `sha3_256`) stands."""
    low = name.lower().replace("-", "_")
    if low in _LISTED_DIGESTS:
        return Acceptance(Grade.ACCEPTED, name, APPENDIX_I)
    if low in _BROKEN_DIGESTS:
        return Acceptance(Grade.FORBIDDEN, name, _BROKEN_DIGESTS[low])
    return Acceptance(Grade.UNLISTED, name, APPENDIX_I)


def key(kind: str, bits: int, curve: str | None = None) -> Acceptance:
    """How a public key stands: `kind` is `rsa`, `ec`, `ed25519`, ...; `bits` its length; `curve` for `ec`."""
    if kind in ("rsa", "rsassa_pss"):
        what = f"RSA-{bits}"
        if bits < 2048:
            return Acceptance(Grade.FORBIDDEN, what, SP800_131A)
        return Acceptance(Grade.ACCEPTED, what, APPENDIX_I)
    if kind == "ec":
        low = (curve or "").lower()
        size = _CURVE_BITS.get(low, bits)
        what = f"ECDSA {curve or '?'} ({size})"
        if size < 224:
            return Acceptance(Grade.FORBIDDEN, what, SP800_131A)
        if size < 256:
            return Acceptance(Grade.UNLISTED, what, APPENDIX_I)
        if low not in _SUITE_CURVES:
            return Acceptance(Grade.UNLISTED, what, SUITES)
        return Acceptance(Grade.ACCEPTED, what, APPENDIX_I)
    return Acceptance(Grade.UNLISTED, kind, APPENDIX_I)


def scheme(name: str) -> Acceptance:
    """How a signature scheme stands: `rsassa_pss`, `rsassa_pkcs1v15`, `ecdsa`, `ed25519`, ...

    App. I names RSASSA-PSS, while every Vietnamese certificate seen is signed with PKCS#1 v1.5: made with PSS or ECDSA,
    accepted with a notice on validation.
    """
    if name in ("rsassa_pss", "ecdsa"):
        return Acceptance(Grade.ACCEPTED, name, APPENDIX_I)
    if name == "rsassa_pkcs1v15":
        return Acceptance(Grade.NOTICE, "RSASSA-PKCS1-v1_5", APPENDIX_I)
    return Acceptance(Grade.UNLISTED, name, APPENDIX_I)


def worst(found: Iterable[Acceptance]) -> Acceptance | None:
    """The acceptance that decides: the one with the worst grade; none when nothing was found."""
    return max(found, key=lambda one: _ORDER.index(one.grade), default=None)
