"""What the signer decides without touching anything: permits, the pre-sign check, where a stamp goes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

from domain.activation import Purpose
from events.contract import Placement
from events.errors import Refused, Unavailable
from events.values import BaselineLevel, ContractId, CredentialId, Digest, IdentityId, KeyAlgorithm, Slot

Octets = bytes | bytearray | memoryview

MESSAGE_DIGEST_ATTRIBUTE = bytes.fromhex("06092a864886f70d01090431220420")
"""DER of a CMS message-digest attribute up to its 32 octets of SHA-256 (RFC 5652 clause 11.2)."""

CLOCK_SKEW = timedelta(seconds=60)
"""How far apart two honest clocks may be."""


class SigningAlgorithm(StrEnum):
    """Keys and paddings that the key store makes and signs with (Circular 15/2025/TT-BKHCN App. I).

    The first three are those of `events.values.KeyAlgorithm`; P-384 is accepted for keys made elsewhere. All sign
    SHA-256 digests.
    """

    RSA_3072_PSS = "rsa-3072-pss"
    RSA_3072_PKCS1 = "rsa-3072-pkcs1"
    P256 = "p-256"
    P384 = "p-384"

    @classmethod
    def of(cls, algorithm: KeyAlgorithm) -> SigningAlgorithm:
        """The same algorithm in the published language's words."""
        return cls(algorithm.value)

    @property
    def is_rsa(self) -> bool:
        """Whether the key is an RSA key."""
        return self in (SigningAlgorithm.RSA_3072_PSS, SigningAlgorithm.RSA_3072_PKCS1)

    @property
    def is_pss(self) -> bool:
        """Whether signatures are RSASSA-PSS with MGF1-SHA-256 and a salt of 32 octets (RFC 4055)."""
        return self is SigningAlgorithm.RSA_3072_PSS


# --- permits -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Permit:
    """What a verified activation allows: one signature, in one slot, over what was shown, until it expires.

    `subject` acts; `act_for` is the organisation whose seal is activated, if any (Law 20/2023/QH15 Art 22: sole
    control of the signer, bound to the content approved).
    """

    jti: str
    purpose: Purpose
    subject: IdentityId
    act_for: IdentityId | None
    contract: ContractId
    slot: Slot
    shown: Digest
    issued_at: datetime
    expires_at: datetime
    account_level: int
    auth_level: int

    @property
    def holder(self) -> IdentityId:
        """Whose certificate may be used."""
        return self.act_for or self.subject


@dataclass(frozen=True, slots=True)
class Order:
    """What a request asks of the signer."""

    contract: ContractId
    slot: Slot
    identity: IdentityId
    credential: CredentialId
    base: Digest
    shown: Digest
    level: BaselineLevel


def admit(
    permit: Permit,
    order: Order,
    *,
    said_at: datetime,
    representative: IdentityId | None,
    least_account_level: int = 2,
    least_auth_level: int = 2,
) -> None:
    """Decide whether the permit allows what the order asks; `said_at` is when the approval was given.

    Raises:
        Refused: the permit is for another purpose, party, contract, slot or document, is too weak, or had expired.
    """
    if permit.purpose is not Purpose.SIGN:
        raise _not_permitted("activation-purpose", f"the purpose {permit.purpose.value}", "the purpose sign")
    if permit.holder != order.identity:
        raise _not_permitted("activation-holder", "an activation of another e-identity", "one of the slot's party")
    if permit.act_for is None:
        if representative is not None:
            raise _not_permitted(
                "activation-representative",
                "an organisation's key activated without saying for whom",
                "an activation by the representative that names the organisation",
            )
    elif representative is None or permit.subject != representative:
        raise _not_permitted(
            "activation-representative",
            "an activation by somebody who is not the bound representative",
            "the representative recorded with the certificate",
        )
    if permit.contract != order.contract or permit.slot != order.slot:
        raise _not_permitted("activation-transaction", "an activation for another contract or slot", "this one's")
    if permit.shown != order.shown:
        raise _not_permitted("activation-digest", "an activation over another document", "the document that was shown")
    if permit.account_level < least_account_level or permit.auth_level < least_auth_level:
        raise _not_permitted(
            "activation-level",
            f"account level {permit.account_level} and authentication level {permit.auth_level}",
            f"at least {least_account_level} and {least_auth_level} (Decree 69/2024/ND-CP Art 20)",
        )
    if not permit.issued_at - CLOCK_SKEW <= said_at <= permit.expires_at + CLOCK_SKEW:
        raise _not_permitted(
            "activation-expired", "an approval given outside the activation's lifetime", "one within it"
        )


def _not_permitted(code: str, found: str, expected: str) -> Refused:
    return Refused(
        code, found=found, expected=expected, remedy="ask the party to approve the document again", status=403
    )


class Passed:
    """SHA-256 of octets as they went by: what it says can only come from having seen them, however many they were."""

    __slots__ = ("_state", "size")

    def __init__(self, data: Octets = b"") -> None:
        self._state = hashlib.sha256(data)
        self.size = len(data)

    def take(self, data: Octets) -> Passed:
        """See more octets; itself."""
        self._state.update(data)
        self.size += len(data)
        return self

    def fork(self) -> Passed:
        """Another that has seen the same and goes its own way."""
        other = Passed.__new__(Passed)
        other._state, other.size = self._state.copy(), self.size
        return other

    def digest(self) -> bytes:
        """The 32 octets."""
        return self._state.digest()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A revision that waits for its signature: the base as it went by, what was added to it, the hole for `/Contents`
    (octets of the whole file), the attributes to sign (DER).
    """

    base: Passed
    added: bytes | bytearray | memoryview
    gap: tuple[int, int]
    attributes: bytes

    def document_digest(self) -> bytes:
        """SHA-256 over everything but the hole (ISO 32000-2 clause 12.8.1, ByteRange)."""
        start, end = (place - self.base.size for place in self.gap)
        view = memoryview(self.added)
        return self.base.fork().take(view[:start]).take(view[end:]).digest()


@dataclass(frozen=True, slots=True)
class Redemption:
    """A permit that was redeemed, once: for this contract and slot, this key and this base revision, no other.

    `base_size` is the length of the base revision in octets.
    """

    jti: str
    contract: ContractId
    slot: Slot
    credential: CredentialId
    algorithm: SigningAlgorithm
    shown: Digest
    base: Digest
    base_size: int
    redeemed_at: datetime

    def permit(self, prepared: Prepared) -> RedeemedPermit:
        """The one key operation that follows from this redemption.

        Raises:
            Refused: the prepared revision is not an addition to the base, or the attributes speak of other bytes.
        """
        start, end = prepared.gap
        if (
            prepared.base.size != self.base_size
            or prepared.base.digest() != self.base.raw
            or not self.base_size <= start < end <= self.base_size + len(prepared.added)
        ):
            raise Refused(
                "not-what-was-authorised",
                found="a revision that does not begin with the authorised one",
                expected="the authorised bytes, unchanged, with additions after them",
                remedy="report this as a fault of the PDF writer",
            )
        digest = prepared.document_digest()
        if prepared.attributes.count(MESSAGE_DIGEST_ATTRIBUTE + digest) != 1:
            raise Refused(
                "not-what-was-authorised",
                found="signed attributes over another document digest",
                expected="the digest of the prepared revision",
                remedy="report this as a fault of the PDF writer",
            )
        return RedeemedPermit(
            jti=self.jti,
            contract=self.contract,
            slot=self.slot,
            credential=self.credential,
            algorithm=self.algorithm,
            base=self.base,
            document=Digest.from_raw(digest),
            attributes=Digest.of(prepared.attributes),
        )


@dataclass(frozen=True, slots=True)
class RedeemedPermit:
    """The only thing that moves a key. `attributes` is what the key signs; it follows from `document` and `base`.

    Made by `Redemption.permit`, which has seen the bytes; no later call can name another document.
    """

    jti: str
    contract: ContractId
    slot: Slot
    credential: CredentialId
    algorithm: SigningAlgorithm
    base: Digest
    document: Digest
    attributes: Digest

    @property
    def salt(self) -> int:
        """Octets of RSASSA-PSS salt: the length of the digest (RFC 4055 clause 3.1)."""
        return 32


@dataclass(frozen=True, slots=True)
class HashPermit:
    """The other thing that moves a key: one of the hashes that the holder approved, as it is (CSC API, signHash).

    Made by `Authorization.permit` alone, so no hash outside the approval can be signed. `salt` in octets, for
    RSASSA-PSS.
    """

    jti: str
    credential: CredentialId
    algorithm: SigningAlgorithm
    attributes: Digest
    salt: int = 32


KeyPermit = RedeemedPermit | HashPermit


@dataclass(frozen=True, slots=True)
class Authorization:
    """An approval of several digests at once, verified and redeemed (EN 419241-1, SCAL2: SAD bound to the hashes).

    `signed` are the indices that were used; each may be used once. Nothing is signed after `expires_at`.
    """

    id: str
    jti: str
    purpose: Purpose
    credential: CredentialId
    identity: IdentityId
    digests: tuple[Digest, ...]
    signed: frozenset[int]
    issued_at: datetime
    expires_at: datetime

    def claim(self, digests: Sequence[Digest], purpose: Purpose, now: datetime) -> tuple[int, ...]:
        """The places of these digests among the approved ones, each not used before.

        Raises:
            Refused: another purpose, too late, not approved, or used already.
        """
        if self.purpose is not purpose:
            raise _not_authorised(f"an approval to {self.purpose.value}", f"one to {purpose.value}")
        if now >= self.expires_at:
            raise _not_authorised("an approval whose time is over", "one that lives")
        free: dict[Digest, list[int]] = {}
        for place, digest in enumerate(self.digests):
            if place not in self.signed:
                free.setdefault(digest, []).append(place)
        found: list[int] = []
        for digest in digests:
            places = free.get(digest)
            if not places:
                raise _not_authorised("a hash that was not approved, or was signed already", "one of those approved")
            found.append(places.pop(0))
        return tuple(found)

    def permit(self, place: int, algorithm: SigningAlgorithm, salt: int) -> HashPermit:
        """The key operation for one of the approved hashes.

        Raises:
            Refused: the approval is of documents, not of hashes to sign as they are.
        """
        if self.purpose is not Purpose.SIGN_HASHES:
            raise _not_authorised(f"an approval to {self.purpose.value}", f"one to {Purpose.SIGN_HASHES.value}")
        return HashPermit(self.jti, self.credential, algorithm, self.digests[place], salt)


def _not_authorised(found: str, expected: str) -> Refused:
    return Refused(
        "not-authorised", found=found, expected=expected, remedy="let the holder approve these hashes", status=403
    )


def continues(base: bytes, shown: bytes) -> None:
    """The revision to sign is what was shown, or what was shown with additions after it.

    Raises:
        Refused: it does not begin with the bytes that were shown.
    """
    if not base.startswith(shown):
        raise Refused(
            "not-what-was-shown",
            found="a revision that does not begin with the one the party saw",
            expected="the shown bytes, unchanged, with at most other signatures after them",
            remedy="show the present revision to the party and ask again",
            status=409,
        )


# --- certificates and their status ---------------------------------------------------------------------------------


class Standing(StrEnum):
    """What is known of a certificate's status (RFC 6960 clause 2.2; certificateHold told apart)."""

    GOOD = "good"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """Whose certificate a status row is about."""

    SIGNER = "signer"
    ISSUER = "issuer"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Certificates, OCSP responses and CRLs, each DER, that let others see what was seen (PAdES DSS)."""

    certificates: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            tuple(dict.fromkeys(self.certificates + other.certificates)),
            tuple(dict.fromkeys(self.ocsps + other.ocsps)),
            tuple(dict.fromkeys(self.crls + other.crls)),
        )

    def beside(self, present: Collection[bytes]) -> Evidence:
        """What a store has to bring where these certificates stand beside the signature or in the token itself.

        EN 319 142-1 clause 6.3 wants all certificates there, and each once (requirements r and s). What stands beside
        one signature is not counted for another's path: some validators look for it there and in the store alone.
        """
        return Evidence(tuple([one for one in self.certificates if one not in present]), self.ocsps, self.crls)


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One line of the check: which certificate, what was found, where, and for how long it holds."""

    role: Role
    certificate: Digest
    standing: Standing
    source: str
    checked_at: datetime
    this_update: datetime | None = None
    next_update: datetime | None = None
    reason: str | None = None
    since: datetime | None = None
    why_unknown: str | None = None

    def data(self) -> dict[str, Any]:
        """The row as JSON values."""
        row: dict[str, Any] = {
            "role": self.role.value,
            "certificate": str(self.certificate),
            "standing": self.standing.value,
            "source": self.source,
            "checked_at": self.checked_at.isoformat(),
        }
        for name in ("this_update", "next_update", "since"):
            moment = getattr(self, name)
            if moment is not None:
                row[name] = moment.isoformat()
        for name in ("reason", "why_unknown"):
            if getattr(self, name) is not None:
                row[name] = getattr(self, name)
        return row


@dataclass(frozen=True, slots=True)
class PreSignCheck:
    """Decree 23/2025/ND-CP Art 15 and Circular 15/2025/TT-BKHCN Art 5 (S1, S9, S11): looked at before the key moves.

    `path` holds DER certificates, the signer's first and the trusted root last.
    """

    checked_at: datetime
    path: tuple[bytes, ...]
    rows: tuple[StatusRow, ...]
    evidence: Evidence = field(default_factory=Evidence)

    def decide(self) -> None:
        """Let only a wholly good check pass.

        Raises:
            Refused: a certificate is revoked or suspended.
            Unavailable: a status is unknown; without it nothing is signed.
        """
        for row in self.rows:
            if row.standing in (Standing.REVOKED, Standing.SUSPENDED):
                raise Refused(
                    f"{'certificate' if row.role is Role.SIGNER else row.role.value}-{row.standing.value}",
                    found=f"the {row.role.value}'s certificate {row.standing.value} ({row.reason or 'no reason'})",
                    expected="a certificate in good standing before signing (Decree 23/2025/ND-CP Art 15)",
                    remedy="lift the suspension or obtain a new certificate, then ask for the signature again",
                    status=409,
                )
        for row in self.rows:
            if row.standing is Standing.UNKNOWN:
                raise Unavailable(
                    "status-unknown",
                    found=f"no usable status of the {row.role.value}'s certificate: {row.why_unknown or 'no source'}",
                    expected="a fresh answer of the CA's OCSP responder, or its CRL",
                    remedy="nothing was signed; it is tried again when the CA answers",
                )
        if not self.rows or all(row.role is not Role.SIGNER for row in self.rows):
            raise Unavailable(
                "status-unknown",
                found="no status of the signer's certificate",
                expected="a fresh answer of the CA",
                remedy="nothing was signed; it is tried again",
            )

    def data(self) -> dict[str, Any]:
        """The stored record: certificates used, status material at signing time, result (Circular 15/2025 Art 5)."""
        return {
            "checked_at": self.checked_at.isoformat(),
            "rows": [row.data() for row in self.rows],
            "path": [base64.b64encode(der).decode() for der in self.path],
            "ocsps": [base64.b64encode(der).decode() for der in self.evidence.ocsps],
            "crls": [base64.b64encode(der).decode() for der in self.evidence.crls],
        }


@dataclass(frozen=True, slots=True)
class Token:
    """A timestamp token that was checked (RFC 3161): its DER, its time, its signer's path, leaf first, root last, and
    the certificates of the path that stand in it.
    """

    der: bytes
    time: datetime
    path: tuple[bytes, ...]
    carried: tuple[bytes, ...] = ()

    @property
    def needs(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """What the material depends on that a file has to hold for it: equal for tokens that are served alike."""
        return self.path, self.carried


# --- the order to the PDF writer -----------------------------------------------------------------------------------


class Certify(IntEnum):
    """What a certification signature lets others do afterwards (ISO 32000-2 table 257, P)."""

    NOTHING = 1
    FORMS = 2
    ANNOTATIONS = 3


@dataclass(frozen=True, slots=True)
class SigningOrder:
    """What the PDF writer is to make. `chain` is DER, the signer's certificate first; times carry an offset.

    `field` names the PDF signature field; an empty field of that name is filled, else one is made. `index` is the
    slot's place among all and decides the stamp's default position. `stamped` False gives an invisible field.
    `certify` makes it a certification signature, which only the first of a document may be.
    """

    redemption: Redemption
    chain: tuple[bytes, ...]
    level: BaselineLevel
    field: str
    index: int
    signed_at: datetime
    placement: Placement | None = None
    reason: str | None = None
    stamped: bool = True
    certify: Certify | None = None


class WrittenBy(StrEnum):
    """Which of the two writers made a revision."""

    FAST = "fast"
    PYHANKO = "pyhanko"


@dataclass(frozen=True, slots=True)
class SignedRevision:
    """The released bytes and what the self-check saw in them; `declined` is why the fast writer left it, if it did."""

    pdf: bytes
    digest: Digest
    field: str
    level: BaselineLevel
    signed_at: datetime
    written_by: WrittenBy
    declined: str | None = None


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A released file, its size in octets, and what the self-check saw in it."""

    path: Path
    size: int
    digest: Digest
    field: str
    level: BaselineLevel
    signed_at: datetime


# --- where a stamp goes --------------------------------------------------------------------------------------------

STAMP_WIDTH, STAMP_HEIGHT = 178.0, 44.0
MARGIN, GUTTER = 16.0, 5.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in points, from the lower left corner of the page as it is displayed."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


def cells(page_width: float, page_height: float) -> tuple[Box, ...]:
    """The places for stamps on a page of this size (points): rows from the bottom margin up, left to right.

    Cells never overlap each other and never leave the page; on a small page they shrink.
    """
    margin = min(MARGIN, page_width * 0.04, page_height * 0.04)
    wide, high = page_width - 2 * margin, page_height - 2 * margin
    columns = max(1, min(3, int((wide + GUTTER) // (STAMP_WIDTH * 0.75 + GUTTER))))
    width = min(STAMP_WIDTH, (wide - GUTTER * (columns - 1)) / columns)
    height = min(high, STAMP_HEIGHT if width >= STAMP_WIDTH * 0.75 else STAMP_HEIGHT * width / STAMP_WIDTH)
    rows = max(1, int((high + GUTTER) // (height + GUTTER)))
    return tuple(
        Box(margin + column * (width + GUTTER), margin + row * (height + GUTTER), width, height)
        for row in range(rows)
        for column in range(columns)
    )


def default_place(
    index: int, pages: Iterable[tuple[float, float]], taken: Callable[[int], Sequence[Box]] = lambda _: ()
) -> tuple[int, Box] | None:
    """Page and box of the `index`-th stamp: the last page's cells, then those of the page before it.

    `pages` are sizes from the last page to the first, looked at as far as needed; pages are counted that way, the last
    is 0. A cell that overlaps what `taken` says of its page is passed over for the next. None when every cell of every
    page is taken: such a signature has no stamp.
    """
    for back, size in enumerate(pages):
        places = cells(*size)
        if index >= len(places):
            index -= len(places)
            continue
        others = taken(back)
        for place in places[index:]:
            if not any(place.overlaps(other) for other in others):
                return back, place
        index = 0
    return None


def within(placement: Placement, page_width: float, page_height: float) -> Box:
    """The placement as a box.

    Raises:
        Refused: it leaves the page, or is too small to be read.
    """
    box = Box(placement.x, placement.y, placement.width, placement.height)
    slack = 0.5
    if box.x + box.width > page_width + slack or box.y + box.height > page_height + slack:
        raise Refused(
            "placement-outside",
            found=f"a box of {box.width:g} x {box.height:g} at ({box.x:g}, {box.y:g})",
            expected=f"a box within the page of {page_width:g} x {page_height:g} points",
            remedy="place the signature within the page",
        )
    if box.width < 20 or box.height < 10:
        raise Refused(
            "placement-small",
            found=f"a box of {box.width:g} x {box.height:g} points",
            expected="at least 20 x 10 points",
            remedy="give the signature more room",
        )
    return box


def artefact_name(contract: ContractId, slot: Slot, base: Digest) -> str:
    """The deterministic name of a slot's signed revision: the same work always gives the same name."""
    return f"{contract}/{slot}/{base.hex}.pdf"
