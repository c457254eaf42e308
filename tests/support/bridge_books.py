"""The bridge's books, CA and registry in memory, and identity events without their signatures."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from events.errors import Refused
from events.values import ApplicationId, Digest, IdentityId
from lab.people import firm
from services.ca_bridge.intake import Accepted, AuthorityEvent, Identity, Passed, take_in
from services.ca_bridge.model import Application, Certificate, RegistryEntry
from services.ca_bridge.ports import Books, Issued, Person, Wanted

NOON = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
ISSUER = "https://authority.example"
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run what never really waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("found a coroutine that waits; expected one on books in memory")


def pseudonym(name: str) -> IdentityId:
    """Somebody by a name."""
    return IdentityId(base64.b32encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=").lower())


def event(what: str, subject: IdentityId, place: int, *, at: datetime = NOON, **data: Any) -> AuthorityEvent:
    """An event as it stands after its signature was verified; complete unless `data` says otherwise."""
    organisation = what.startswith("org.")
    full: dict[str, Any] = {
        "subject_kind": "organisation" if organisation else "citizen",
        "account_level": 2,
        "auth_level": 3,
        "valid_until": (NOON + timedelta(days=365)).isoformat(),
        "consent": {
            "id": "consent-1",
            "purpose": "certificate-issuance",
            "text_sha256": "0" * 64,
            "obtained_at": NOON.isoformat(),
            "expires_at": (NOON + timedelta(days=365)).isoformat(),
        },
    }
    if organisation:
        code = firm(0)
        full["org"] = {"tax_code": code.tax_code, "name": code.name, "representative": data.pop("representative", None)}
    else:
        full |= {"identifier_enc": "a.b.c.d.e", "identifier_commitment": str(Digest.of(f"{subject} {place}".encode()))}
    return AuthorityEvent.model_validate(
        {
            "specversion": "1.0",
            "id": f"{subject[:20]}-{place}",
            "source": ISSUER,
            "type": f"vn.eid.{what}.v1",
            "subject": subject,
            "time": at.isoformat(),
            "sequence": str(place),
            "data": full | data,
        }
    )


def taken(found: AuthorityEvent, known: Identity | None, *, now: datetime = NOON) -> Accepted | Passed:
    """The decision on an event."""
    return take_in(
        found,
        known,
        evidence=Digest.of(found.id.encode()),
        now=now,
        issuer=ISSUER,
        freshness=timedelta(minutes=10),
        skew=timedelta(seconds=30),
    )


@dataclass
class Identities:
    """`ports.Identities`."""

    kept: dict[str, Identity] = field(default_factory=dict)

    async def get(self, identity: IdentityId) -> Identity | None:
        """One."""
        return self.kept.get(identity)

    async def put(self, identity: Identity) -> None:
        """Keep."""
        self.kept[identity.id] = identity


@dataclass
class Applications:
    """`ports.Applications`."""

    kept: dict[str, Application] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    async def get(self, application: ApplicationId) -> Application | None:
        """One."""
        return self.kept.get(application)

    async def put(self, application: Application) -> None:
        """Keep."""
        self.kept[application.id] = application

    async def of(self, identity: IdentityId) -> Sequence[Application]:
        """All of an identity."""
        return [one for one in self.kept.values() if one.identity == identity]

    async def claim_key(self, application: ApplicationId, key: Digest) -> None:
        """Once."""
        if self.keys.setdefault(key, application) != application:
            raise Refused("key-not-unique", found="a known key", expected="a fresh one", remedy="apply anew")


@dataclass
class Certificates:
    """`ports.Certificates`."""

    kept: dict[str, Certificate] = field(default_factory=dict)

    async def get(self, certificate: Digest) -> Certificate | None:
        """One."""
        return self.kept.get(certificate)

    async def put(self, certificate: Certificate) -> None:
        """Keep."""
        self.kept[certificate.digest] = certificate

    async def touching(self, identity: IdentityId) -> Sequence[Certificate]:
        """Own and represented."""
        return [one for one in self.kept.values() if identity in (one.identity, one.representative)]

    async def overdue(self, now: datetime) -> Sequence[Certificate]:
        """To be replaced."""
        return [
            one
            for one in self.kept.values()
            if one.revoked is None and one.replace_by is not None and one.replace_by <= now
        ]


def books() -> Books:
    """Empty books."""
    return Books(Identities(), Applications(), Certificates())


@dataclass
class Ca:
    """`ports.CertificateAuthority`: keeps status by serial; issuing is by application, once."""

    status: dict[str, str] = field(default_factory=dict)
    issued: dict[str, Issued] = field(default_factory=dict)
    named: dict[str, Wanted] = field(default_factory=dict)

    async def certify(self, application: Application, wanted: Wanted) -> Issued:
        """The same application has the same certificate; its key is its credential."""
        request = application.id
        if self.named.setdefault(request, wanted) != wanted:
            raise Refused("outside-request-reused", found="another body", expected="the same", remedy="apply anew")
        if request not in self.issued:
            serial = str(len(self.issued) + 1)
            self.status[serial] = "good"
            self.issued[request] = Issued(
                certificate=Digest.of(f"certificate {serial}".encode()),
                chain_pem=b"",
                serial=serial,
                key=Digest.of(application.credential.encode()),
                not_before=NOON,
                not_after=NOON + timedelta(days=365),
            )
        return self.issued[request]

    async def suspend(self, serial: str, reason: str) -> None:
        """Hold."""
        self._change(serial, "suspended")

    async def release(self, serial: str) -> None:
        """Lift."""
        self._change(serial, "good")

    async def revoke(self, serial: str, reason: str) -> None:
        """End."""
        self._change(serial, "revoked")

    def _change(self, serial: str, to: str) -> None:
        if self.status[serial] == "revoked" and to != "revoked":
            raise Refused("outside-revoked-for-good", found="revoked", expected="not", remedy="none", status=409)
        self.status[serial] = to


@dataclass
class World:
    """Key store, safe and registry that always answer; the registry says who represents."""

    representative: IdentityId | None = None
    status: str = "active"

    def open(self, identity: Identity) -> Person:
        """A person who is the commitment."""
        return Person("001199012345", f"Thử {str(identity.identifier_commitment)[7:20]}")

    async def look_up(self, tax_code: str) -> RegistryEntry:
        """As entered."""
        return RegistryEntry(
            tax_code=tax_code, name=firm(0).name, status=self.status, representative=self.representative
        )
