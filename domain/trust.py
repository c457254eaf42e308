"""Which algorithms may carry a signature, each answer citing its clause; pure rules, no I/O.

Sources: Circular 15/2025/TT-BKHCN App. I (mandatory list for signatures in Vietnam), ETSI TS 119 312 V1.5.1
(cryptographic suites and the days on which they end), RFC 8017 (RSA), RFC 4055 (PSS parameters), FIPS 186-5 (ECDSA,
EdDSA, salt lengths), RFC 6151 (MD5), NIST SP 800-131A rev. 2 (SHA-1, key sizes).

App. I decides. The end days of TS 119 312 add a notice to what App. I allows, and spare what was sound at the proven
time from being called forbidden (ETSI EN 319 102-1 clause 5.2.8: algorithms are judged at the time that is proven).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

APPENDIX_I = "Circular 15/2025/TT-BKHCN App. I"
SUITES = "ETSI TS 119 312"
SP800_131A = "NIST SP 800-131A rev. 2"
PSS_PARAMETERS = "RFC 4055 3.1"
SALTS = "FIPS 186-5 5.4"

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
    ends: date | None = None
    """The first day on which TS 119 312 no longer recommends it; none where no end is set."""
    reason: str | None = None
    """A kebab-case name of what the reader is told; none when there is nothing to tell."""

    def at(self, moment: datetime) -> Acceptance:
        """The same algorithm, judged at a moment that is proven.

        What App. I allows but TS 119 312 has ended by then gets a notice. What is forbidden today but had not ended
        then is unlisted: not proof of a forgery, but no ground for trust either.
        """
        if self.ends is None:
            return self
        ended = moment.astimezone(UTC).date() >= self.ends
        if ended and self.grade in (Grade.ACCEPTED, Grade.NOTICE):
            return replace(self, grade=Grade.NOTICE, clause=SUITES, reason="past-recommended-end")
        if not ended and self.grade is Grade.FORBIDDEN:
            return replace(self, grade=Grade.UNLISTED, clause=SUITES, reason="sound-only-then")
        return self


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
_BROKEN_DIGESTS = {
    "md2": (SUITES, None),
    "md4": (SUITES, None),
    "md5": ("RFC 6151", date(2004, 8, 1)),
    "sha1": (SP800_131A, date(2012, 8, 1)),
}
_ENDED_DIGESTS = {"sha224": date(2029, 1, 1), "ripemd160": date(2014, 8, 1), "whirlpool": date(2020, 12, 1)}

_CURVE_BITS = {
    "secp160r1": 160,
    "secp192r1": 192,
    "secp224r1": 224,
    "secp256r1": 256,
    "secp384r1": 384,
    "secp521r1": 521,
    "brainpoolp192r1": 192,
    "brainpoolp224r1": 224,
    "brainpoolp256r1": 256,
    "brainpoolp320r1": 320,
    "brainpoolp384r1": 384,
    "brainpoolp512r1": 512,
    "frp256v1": 256,
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
        "frp256v1",
    }
)
_RSA_ENDS = ((786, date(2010, 8, 1)), (1024, date(2019, 10, 1)), (1900, date(2029, 1, 1)), (3000, None))
_EC_ENDS = ((160, date(2012, 8, 1)), (224, date(2021, 10, 1)), (256, None))
_PKCS1_ENDS = date(2029, 1, 1)
_SMALLEST_EXPONENT = 1 << 16


def digest(name: str) -> Acceptance:
    """How the digest algorithm `name` (as `sha256`, `sha512_256`, `sha3_256`) stands."""
    low = name.lower().replace("-", "_").replace("/", "_")
    if low in _LISTED_DIGESTS:
        return Acceptance(Grade.ACCEPTED, name, APPENDIX_I)
    if low in _BROKEN_DIGESTS:
        clause, ends = _BROKEN_DIGESTS[low]
        return Acceptance(Grade.FORBIDDEN, name, clause, ends)
    return Acceptance(Grade.UNLISTED, name, APPENDIX_I, _ENDED_DIGESTS.get(low))


def key(kind: str, bits: int, curve: str | None = None, exponent: int | None = None) -> Acceptance:
    """How a public key stands.

    `kind` is `rsa`, `ec`, `ed25519`, ...; `bits` the length of the modulus or of the field; `curve` the curve's name
    for `ec`; `exponent` the public exponent for `rsa`, where it is known.
    """
    if kind in ("rsa", "rsassa_pss"):
        return _rsa(bits, exponent)
    if kind == "ec":
        return _elliptic(bits, curve)
    if kind == "dsa" and bits < 2048:
        return Acceptance(Grade.FORBIDDEN, f"DSA-{bits}", SP800_131A)
    return Acceptance(Grade.UNLISTED, kind, APPENDIX_I)


def scheme(name: str) -> Acceptance:
    """How a signature scheme stands: `rsassa_pss`, `rsassa_pkcs1v15`, `ecdsa`, `ed25519`, ...

    App. I names RSASSA-PSS, while every Vietnamese certificate seen is signed with PKCS#1 v1.5: made with PSS or ECDSA,
    accepted with a notice on validation. EdDSA (FIPS 186-5) is sound but in neither list.
    """
    if name in ("rsassa_pss", "ecdsa"):
        return Acceptance(Grade.ACCEPTED, name, APPENDIX_I)
    if name == "rsassa_pkcs1v15":
        return Acceptance(Grade.NOTICE, "RSASSA-PKCS1-v1_5", APPENDIX_I, _PKCS1_ENDS, "pkcs1-accepted")
    return Acceptance(Grade.UNLISTED, name, APPENDIX_I)


def pss(digest_name: str, mask_digest: str, salt: int, digest_size: int, trailer: int = 1) -> Acceptance:
    """How the parameters of RSASSA-PSS stand.

    `mask_digest` is the digest of MGF1; `salt` and `digest_size` are in octets; `trailer` is the trailer field.
    """
    what = f"RSASSA-PSS ({digest_name}, MGF1 {mask_digest}, salt {salt})"
    if trailer != 1 or salt < 0:
        return Acceptance(Grade.UNLISTED, what, PSS_PARAMETERS)
    mask = digest(mask_digest)
    if mask.grade is Grade.UNLISTED or digest(digest_name).grade in (Grade.UNLISTED, Grade.FORBIDDEN):
        return Acceptance(Grade.UNLISTED, what, mask.clause, mask.ends)
    # A mask generation function need not resist collisions: SHA-1 there is odd, not broken (RFC 8017 8.1).
    if mask_digest != digest_name:
        return Acceptance(Grade.NOTICE, what, PSS_PARAMETERS, None, "mask-digest-differs")
    if not 0 < salt <= digest_size:
        return Acceptance(Grade.NOTICE, what, SALTS, None, "salt-length-unusual")
    return Acceptance(Grade.ACCEPTED, what, APPENDIX_I)


def worst(found: Iterable[Acceptance]) -> Acceptance | None:
    """The acceptance that decides: the one with the worst grade; none when nothing was found."""
    return max(found, key=lambda one: _ORDER.index(one.grade), default=None)


def _rsa(bits: int, exponent: int | None) -> Acceptance:
    what, ends = f"RSA-{bits}", _ends(_RSA_ENDS, bits)
    if exponent is not None and (exponent < 3 or exponent % 2 == 0):
        return Acceptance(Grade.FORBIDDEN, f"{what} with exponent {exponent}", "RFC 8017 3.1")
    if bits < 1900:
        return Acceptance(Grade.FORBIDDEN, what, SP800_131A, ends)
    if bits < 2048:
        return Acceptance(Grade.UNLISTED, what, APPENDIX_I, ends)
    if exponent is not None and exponent <= _SMALLEST_EXPONENT:
        return Acceptance(Grade.NOTICE, f"{what} with exponent {exponent}", SUITES, ends, "exponent-small")
    return Acceptance(Grade.ACCEPTED, what, APPENDIX_I, ends)


def _elliptic(bits: int, curve: str | None) -> Acceptance:
    low = (curve or "").lower()
    size = _CURVE_BITS.get(low, bits)
    what, ends = f"ECDSA {curve or '?'} ({size})", _ends(_EC_ENDS, size)
    if size < 224:
        return Acceptance(Grade.FORBIDDEN, what, SP800_131A, ends)
    if size < 256:
        return Acceptance(Grade.UNLISTED, what, APPENDIX_I, ends)
    if low not in _SUITE_CURVES:
        return Acceptance(Grade.UNLISTED, what, SUITES)
    return Acceptance(Grade.ACCEPTED, what, APPENDIX_I)


def _ends(table: tuple[tuple[int, date | None], ...], bits: int) -> date | None:
    """The end day of the largest size in the table that is not above `bits`; none above the table or below it."""
    found = [ends for least, ends in table if bits >= least]
    return found[-1] if found else None
