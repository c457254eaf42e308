"""What the signer needs from outside: keys, time, status, a PDF writer, permits, credentials, a place for artefacts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.activation import Activation
from events.values import CertificateProfile, ContractId, CredentialId, Digest, IdentityId, Slot
from services.signer.model import (
    Evidence,
    KeyPermit,
    Permit,
    PreSignCheck,
    Redemption,
    SignedRevision,
    SigningAlgorithm,
    SigningOrder,
    Token,
)


class KeyStore(Protocol):
    """Holds private keys that never leave it.

    `waits`: a person approves each operation, so that one order must make the same octets at every try (ADR 8).
    """

    waits: bool

    async def create(self, credential: CredentialId, algorithm: SigningAlgorithm) -> bytes:
        """Make the credential's key, or find the one already made; its SubjectPublicKeyInfo, DER.

        Raises:
            Refused: the credential has a key of another algorithm.
            Unavailable: the store cannot be read or written.
        """
        ...

    async def csr(self, credential: CredentialId, challenge: str) -> bytes:
        """Proof of possession: a PKCS#10 request (PEM) with an empty subject and the challenge as challengePassword.

        Raises:
            Refused: no such key.
            Unavailable: the store cannot be read.
        """
        ...

    async def algorithm(self, credential: CredentialId) -> SigningAlgorithm | None:
        """The algorithm of the credential's key, or none where there is no key."""
        ...

    async def sign(self, permit: KeyPermit) -> bytes:
        """The raw signature over the digest in `permit.attributes`. There is no other way to move a key.

        Raises:
            Refused: no such key, or its algorithm is not the permit's.
            Unavailable: the store cannot be read.
        """
        ...

    async def ready(self, jti: str) -> None:
        """Return unless a person still has to approve what was asked for under this permit; cheap, so that a request
        that waits costs neither a status check nor a PDF at each try.

        Raises:
            Unavailable: the approval is still awaited.
            Refused: it was refused, or came too late.
        """
        ...


class TimestampAuthority(Protocol):
    """Gives trusted time, or nothing."""

    def room(self, *, steady: bool) -> int:
        """Octets to reserve for a token; `steady`: as many at every try, else as few as will do."""
        ...

    async def timestamp(self, digest: Digest) -> Token:
        """A checked token over the digest.

        Raises:
            Unavailable: no answer, a refusal, or an answer that does not stand up to checking.
        """
        ...


class StatusSource(Protocol):
    """Knows how certificates stand, with evidence."""

    async def check(self, chain: tuple[bytes, ...]) -> PreSignCheck:
        """Check a signer's certificate and its issuers (DER, signer first); the signer's own status is always fresh.

        An unknown, revoked or suspended status is in the rows: the caller decides with `PreSignCheck.decide`.

        Raises:
            Refused: expired, not yet valid, not for signing, or no path to a trusted root.
        """
        ...

    async def evidence(self, path: tuple[bytes, ...]) -> Evidence:
        """Status material for a timestamp authority's path (DER, leaf first, root last).

        Raises:
            Unavailable: a status is not good, or cannot be had.
        """
        ...


class PadesWriter(Protocol):
    """Makes a signed revision of a PDF."""

    async def sign(self, pdf: bytes, order: SigningOrder, evidence: Evidence) -> SignedRevision:
        """Sign `pdf` as ordered, at exactly the level ordered, and check the result before giving it out.

        Raises:
            Refused: the PDF cannot be signed (encrypted, XFA, locked, damaged), or the result is not what was ordered.
            Unavailable: no trusted time or no status material; nothing is released.
        """
        ...


class Permits(Protocol):
    """Verifies activations and lets each be redeemed once."""

    async def verify(self, activation: bytes) -> Permit:
        """The permit in an activation (compact JWS).

        Raises:
            Refused: the signature, issuer, audience or a claim is wrong.
            Unavailable: the authority's keys cannot be had.
        """
        ...

    async def redeem(self, redemption: Redemption) -> Redemption:
        """Redeem a permit, durably, before the key moves; the same work finds its redemption again.

        Raises:
            Refused: it was redeemed for something else.
        """
        ...


class Approvals(Protocol):
    """Verifies activations."""

    @property
    def issuer(self) -> str:
        """The authority, as in `iss`."""
        ...

    @property
    def audience(self) -> str:
        """We, as in `aud`."""
        ...

    async def claims(self, activation: bytes) -> Activation:
        """The claims of an activation whose signature holds.

        Raises:
            Refused: the signature, issuer, audience or a claim is wrong.
            Unavailable: the authority's keys cannot be had.
        """
        ...


class CredentialState(StrEnum):
    """How the signer knows a credential."""

    KEY_MADE = "key-made"
    BOUND = "bound"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Credential:
    """A key and the certificate bound to it, as the binding facts told."""

    credential: CredentialId
    identity: IdentityId
    algorithm: SigningAlgorithm
    state: CredentialState
    certificate: Digest
    chain: Digest
    profile: CertificateProfile
    representative: IdentityId | None
    not_before: datetime
    not_after: datetime


class Credentials(Protocol):
    """The projection of the binding facts."""

    async def find(self, credential: CredentialId) -> Credential | None:
        """The credential as last told, if it was."""
        ...

    async def keep(self, credential: Credential) -> None:
        """Write the credential as it is now."""
        ...


class Slots(Protocol):
    """What the signer remembers of slots: when approvals were given, what was signed."""

    async def approved(self, activation: Digest) -> datetime | None:
        """When the approval with this activation was given, if that was heard."""
        ...

    async def note_approval(self, activation: Digest, at: datetime) -> None:
        """Remember when an approval was given; the first time counts."""
        ...

    async def signed(self, contract: ContractId, slot: Slot) -> Digest | None:
        """The signed revision of the slot, if there is one."""
        ...

    async def note_signed(self, contract: ContractId, slot: Slot, base: Digest, signed: Digest, at: datetime) -> None:
        """Remember that the slot is signed; at most once per slot."""
        ...


class Vault(Protocol):
    """Bytes by digest, and create-only names."""

    async def keep(self, data: bytes) -> Digest:
        """Store bytes; their digest."""
        ...

    async def fetch(self, digest: Digest) -> bytes:
        """The bytes with this digest.

        Raises:
            Unavailable: they cannot be had now.
        """
        ...

    async def publish(self, name: str, data: bytes) -> tuple[Digest, bool]:
        """Give an artefact its name, once; the digest the name holds now, and whether it is ours."""
        ...

    async def published(self, name: str) -> Digest | None:
        """The digest an artefact's name holds, if it was published."""
        ...
