"""What the bridge needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from events.values import ApplicationId, CertificateProfile, Digest, IdentityId, KeyAlgorithm
from services.ca_bridge.intake import Identity
from services.ca_bridge.model import Application, Certificate, RegistryEntry


class Identities(Protocol):
    """Identities as the intake knows them."""

    async def get(self, identity: IdentityId) -> Identity | None:
        """One identity, if it is known."""
        ...

    async def put(self, identity: Identity) -> None:
        """Keep it."""
        ...


class Applications(Protocol):
    """Applications for certificates."""

    async def get(self, application: ApplicationId) -> Application | None:
        """One application."""
        ...

    async def put(self, application: Application) -> None:
        """Keep it."""
        ...

    async def of(self, identity: IdentityId) -> Sequence[Application]:
        """All of an identity, oldest first."""
        ...

    async def claim_key(self, application: ApplicationId, key: Digest) -> None:
        """Note that this public key is this application's.

        Raises:
            Refused: it was certified for another application before (Decree 23/2025/ND-CP Art 38).
        """
        ...


class Certificates(Protocol):
    """Bound certificates."""

    async def get(self, certificate: Digest) -> Certificate | None:
        """One certificate."""
        ...

    async def put(self, certificate: Certificate) -> None:
        """Keep it."""
        ...

    async def touching(self, identity: IdentityId) -> Sequence[Certificate]:
        """Those of the identity and those it represents."""
        ...

    async def overdue(self, now: datetime) -> Sequence[Certificate]:
        """Living ones that should have been replaced by now."""
        ...


@dataclass(frozen=True)
class Person:
    """Who a citizen is. Lives only in memory, for the length of one CA call."""

    number: str = field(repr=False)
    full_name: str = field(repr=False)


class Safe(Protocol):
    """Opens what the authority encrypted to us."""

    def open(self, identity: Identity) -> Person:
        """The person.

        Raises:
            Refused: it cannot be opened or does not agree with its commitment.
        """
        ...


@dataclass(frozen=True)
class Wanted:
    """The subject that a certificate is to name."""

    profile: CertificateProfile
    key_algorithm: KeyAlgorithm
    person: Person | None
    tax_code: str | None
    organisation: str | None


@dataclass(frozen=True)
class Issued:
    """What the CA issued, examined."""

    certificate: Digest
    chain_pem: bytes = field(repr=False)
    serial: str
    key: Digest
    not_before: datetime
    not_after: datetime


class CertificateAuthority(Protocol):
    """Where keys and their certificates come from: a CA with our key store, or providers who keep both.

    Every call may be repeated. Changes of state raise Refused only for what is revoked there for good.
    """

    async def certify(self, application: Application, wanted: Wanted) -> Issued:
        """Put a key behind the application's credential, and give its certificate, examined.

        Raises:
            Refused: the request or the certificate is not acceptable, or there is none.
            Unavailable: somebody who is needed does not answer.
        """
        ...

    async def suspend(self, serial: str, reason: str) -> None:
        """Put it on hold."""
        ...

    async def release(self, serial: str) -> None:
        """Take the hold off."""
        ...

    async def revoke(self, serial: str, reason: str) -> None:
        """End it for good."""
        ...


class Registry(Protocol):
    """The enterprise registry."""

    async def look_up(self, tax_code: str) -> RegistryEntry:
        """What is entered.

        Raises:
            Refused: no such enterprise.
            Unavailable: the registry does not answer.
        """
        ...


@dataclass(frozen=True)
class Books:
    """What is kept, as one transaction or one reading sees it."""

    identities: Identities
    applications: Applications
    certificates: Certificates


class Ledger(Protocol):
    """The intake's own books; `tx` is a transaction, `conn` that or a connection to read."""

    def books(self, conn: Any, /) -> Books:
        """Identities, applications and certificates."""
        ...

    async def accepted(self, conn: Any, event: str, /) -> str | None:
        """The fingerprint of an accepted event, by its id."""
        ...

    async def want(self, tx: Any, identity: IdentityId, due: datetime | None, /) -> None:
        """Ask for redelivery of what is missing of an identity when `due`; none: nothing is missing any more."""
        ...

    async def wanted(self, conn: Any, now: datetime, limit: int, /) -> Sequence[IdentityId]:
        """Identities whose missing events are due to be asked for."""
        ...

    async def claim_transaction(self, tx: Any, transaction: str, event: str, /) -> None:
        """Note a transaction of the authority as used by this event.

        Raises:
            Refused: another event used it before.
        """
        ...

    async def note(self, tx: Any, values: dict[str, Any], /) -> None:
        """Keep what the intake did with an event."""
        ...

    async def refusals(self, conn: Any, limit: int, /) -> list[dict[str, Any]]:
        """The newest refused events."""
        ...

    async def redeem(self, tx: Any, activation: str, now: datetime, /) -> None:
        """Note an activation as used.

        Raises:
            Refused: it was used before.
        """
        ...


class EventSource(Protocol):
    """Where the authority keeps its events for redelivery."""

    async def events(self, identity: IdentityId, after: int) -> Sequence[bytes]:
        """The signed events of an identity with a sequence above `after`, each as JSON, in order.

        Raises:
            Unavailable: the authority does not answer, or answers nonsense.
        """
        ...
