"""What the signer needs from outside: keys, time, status, a PDF writer, permits, credentials, a place for artefacts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from events.values import CertificateProfile, CredentialId, Digest, IdentityId
from services.signer.model import (
    Evidence,
    Permit,
    PreSignCheck,
    RedeemedPermit,
    Redemption,
    SignedRevision,
    SigningAlgorithm,
    SigningOrder,
    Token,
)


class KeyStore(Protocol):
    """Holds private keys that never leave it."""

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

    async def sign(self, permit: RedeemedPermit) -> bytes:
        """The raw signature over the permit's attributes digest. There is no other way to move a key.

        Raises:
            Refused: no such key, or its algorithm is not the permit's.
            Unavailable: the store cannot be read.
        """
        ...


class TimestampAuthority(Protocol):
    """Gives trusted time, or nothing."""

    @property
    def room(self) -> int:
        """Octets to reserve for a token."""
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

    def verify(self, activation: bytes) -> Permit:
        """The permit in an activation (compact JWS).

        Raises:
            Refused: the signature, issuer, audience or a claim is wrong.
        """
        ...

    async def redeem(self, permit: Permit, redemption: Redemption) -> Redemption:
        """Redeem the permit, or find the same redemption again.

        Raises:
            Refused: it was redeemed for something else.
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


class Artefacts(Protocol):
    """Create-only storage of signed revisions under deterministic names."""

    async def find(self, name: str) -> bytes | None:
        """The finished artefact of that name, if any."""
        ...

    async def publish(self, name: str, data: bytes) -> bytes:
        """Publish under a name that is free; if it was taken, what stands there already is returned instead."""
        ...
