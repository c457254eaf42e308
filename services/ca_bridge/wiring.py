"""Puts the bridge together: the only place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from events.binding import ApplicationOpened, CertificateReleased, CertificateRevoked, CertificateSuspended
from events.envelope import Event
from events.errors import Refused, Unavailable
from events.fact import Fact
from events.flow import AUTHORITY
from events.identity import (
    ConsentWithdrawn,
    IdentityEnded,
    IdentityFact,
    IdentityLocked,
    IdentityUnlocked,
    IdentityUpdated,
    IdentityVerified,
    OrganisationDissolved,
    OrganisationVerified,
    RepresentativeChanged,
)
from events.values import Digest
from services.ca_bridge import handlers, issuing
from services.ca_bridge.adapters import store
from services.ca_bridge.adapters.examiner import Examiner
from services.ca_bridge.adapters.hub import HubCertificates
from services.ca_bridge.adapters.outside import HttpAuthority, HttpCa, HttpKeyStore, HttpRegistry
from services.ca_bridge.adapters.safe import JweSafe
from services.ca_bridge.model import Release
from services.ca_bridge.ports import CertificateAuthority, Issued, Registry, Safe
from services.ca_bridge.routes import NAME, Desk, routes
from services.ca_bridge.settings import CaBridgeSettings
from services.runtime.consume import Done, Subscriber
from services.runtime.database import Tx
from services.runtime.hub import Hub
from services.runtime.jwks import Jwks
from services.runtime.outbox import new_id
from services.runtime.process import Inlet, Platform, Service, Timer
from services.runtime.settings import secret

_IDENTITY_FACTS: tuple[type[IdentityFact], ...] = (
    IdentityVerified,
    IdentityUpdated,
    IdentityLocked,
    IdentityUnlocked,
    IdentityEnded,
    OrganisationVerified,
    RepresentativeChanged,
    OrganisationDissolved,
    ConsentWithdrawn,
)

_RELEASING: tuple[type[IdentityFact], ...] = (
    IdentityVerified,
    IdentityUpdated,
    IdentityUnlocked,
    OrganisationVerified,
)
"""Facts that may end a hold."""


@dataclass(frozen=True)
class Releasing:
    """The work on an identity fact that may end a hold: the CA, and for a seal the registry, are asked first."""

    platform: Platform
    ca: CertificateAuthority
    registry: Registry

    def key(self, event: Event[IdentityFact]) -> str:
        """One event, one job."""
        return f"release/{event.id}"

    async def plan(self, event: Event[IdentityFact], tx: Tx) -> handlers.Releases | Done:
        """What may be released now, after the same fact has put its own holds on.

        Raises:
            Unavailable: the holds come first.
        """
        if not await store.heard(tx, NAME, event.id):
            raise Unavailable(
                "holds-come-first",
                found="a fact whose holds are not written yet",
                expected="holds before releases",
                remedy="it is tried again at once",
                retry_after=0.05,
            )
        releases = await handlers.plan_releases(event.fact, store.books(tx), now=self.platform.clock.now())
        return releases or Done()

    async def act(self, plan: handlers.Releases) -> Sequence[Release]:
        """Release at the CA."""
        return await handlers.ask_ca_to_release(plan, ca=self.ca, registry=self.registry)

    async def finish(
        self, event: Event[IdentityFact], plan: handlers.Releases, result: Sequence[Release], tx: Tx
    ) -> Sequence[Fact]:
        """Release here."""
        return await handlers.released(event.fact, result, store.books(tx), now=self.platform.clock.now())

    async def refuse(self, event: Event[IdentityFact], fault: Refused, tx: Tx) -> Sequence[Fact]:
        """The holds stay."""
        return []


@dataclass(frozen=True)
class Issuing:
    """The work on an opened application: registry, key, certificate."""

    platform: Platform
    safe: Safe
    ca: CertificateAuthority
    registry: Registry

    def key(self, event: Event[ApplicationOpened]) -> str:
        """An application that was frozen is opened again by another event."""
        return f"issue/{event.id}"

    async def plan(self, event: Event[ApplicationOpened], tx: Tx) -> issuing.IssuePlan | Done:
        """Look once more; the claimed job is the logged intent to call the CA."""
        found = await issuing.plan_issue(event.fact, store.books(tx), now=self.platform.clock.now())
        return found or Done()

    async def act(self, plan: issuing.IssuePlan) -> tuple[Issued, Digest]:
        """Have it issued; the chain is kept as a blob."""
        result = await issuing.issue(
            plan,
            safe=self.safe,
            ca=self.ca,
            registry=self.registry,
            now=self.platform.clock.now(),
        )
        return result, await self.platform.blobs.keep(result.chain_pem)

    async def finish(
        self, event: Event[ApplicationOpened], plan: issuing.IssuePlan, result: tuple[Issued, Digest], tx: Tx
    ) -> Sequence[Fact]:
        """Keep it."""
        try:
            return await issuing.issued(
                plan, result[0], result[1], store.books(tx), now=self.platform.clock.now(), new_id=new_id
            )
        except Refused as fault:
            return await issuing.refuse_issue(event.fact, fault, store.books(tx))

    async def refuse(self, event: Event[ApplicationOpened], fault: Refused, tx: Tx) -> Sequence[Fact]:
        """The application ends."""
        return await issuing.refuse_issue(event.fact, fault, store.books(tx))


@dataclass(frozen=True)
class Telling:
    """The work on a suspension, release or revocation: the CA's books follow ours."""

    platform: Platform
    ca: CertificateAuthority

    def key(self, event: Event[Any]) -> str:
        """One event, one job."""
        return f"tell/{event.id}"

    async def plan(self, event: Event[Any], tx: Tx) -> handlers.Tell | Done:
        """The state as it is now."""
        return await handlers.plan_tell(event.fact, store.books(tx)) or Done()

    async def act(self, plan: handlers.Tell) -> None:
        """Tell."""
        await handlers.tell_ca(plan, ca=self.ca)

    async def finish(self, event: Event[Any], plan: handlers.Tell, result: None, tx: Tx) -> Sequence[Fact]:
        """Nothing to say: it was said before."""
        return []

    async def refuse(self, event: Event[Any], fault: Refused, tx: Tx) -> Sequence[Fact]:
        """It is revoked there for good."""
        return await handlers.revoked_at_ca(event.fact, store.books(tx), now=self.platform.clock.now())


def _authority(platform: Platform, settings: CaBridgeSettings, keys: HttpKeyStore) -> CertificateAuthority:
    examiner = Examiner(settings.anchors)
    partner = settings.partner
    if partner is not None:
        hub = Hub(platform.outbound, partner, platform.clock, timeout=settings.timeout)
        return HubCertificates(hub, examiner, platform.clock, keys)
    return HttpCa(
        platform.outbound,
        settings.ca,
        secret(settings.ra_token_file),
        examiner,
        platform.clock,
        keys,
        days=settings.validity_days,
        timeout=settings.timeout,
    )


def build(platform: Platform, settings: CaBridgeSettings) -> Service:
    """The bridge as a service of this process.

    Raises:
        Malformed: a secret or the trusted roots cannot be read.
    """
    jwks = Jwks(platform.outbound, settings.jwks, platform.clock)
    keys = HttpKeyStore(platform.outbound, settings.signer, secret(settings.service_key_file))
    ca = _authority(platform, settings, keys)
    registry = HttpRegistry(platform.outbound, settings.registry, timeout=settings.timeout)
    safe = JweSafe(secret(settings.identity_key_file))
    source = HttpAuthority(platform.outbound, settings.authority, timeout=settings.timeout)
    desk = Desk(platform, settings, jwks, store, source)
    releasing = Releasing(platform, ca, registry)
    telling = Telling(platform, ca)

    async def follow(event: Event[IdentityFact], tx: Tx) -> Sequence[Fact]:
        return await handlers.identity_changed(
            event.fact,
            store.books(tx),
            algorithms=settings.key_algorithms,
            replace_within=timedelta(days=settings.replace_days),
            now=platform.clock.now(),
            new_id=new_id,
        )

    async def revoke_overdue() -> None:
        async with platform.database.write() as tx:
            facts = await handlers.revoke_overdue(store.books(tx), now=platform.clock.now())
            await platform.outbox.say(tx, NAME, facts)

    return Service(
        NAME,
        schemas=[store.schema],
        routes=routes(desk),
        # What takes rights away asks nobody and waits for nobody: an outside that does not answer holds back only
        # the group that needs it.
        subscribers=[
            Subscriber(NAME, reactions=dict.fromkeys(_IDENTITY_FACTS, follow)),
            Subscriber(f"{NAME}-releases", works=dict.fromkeys(_RELEASING, releasing)),
            Subscriber(f"{NAME}-issuing", works={ApplicationOpened: Issuing(platform, safe, ca, registry)}),
            Subscriber(
                f"{NAME}-telling",
                works=dict.fromkeys((CertificateSuspended, CertificateReleased, CertificateRevoked), telling),
            ),
        ],
        inlets=[Inlet(f"{NAME}-intake", AUTHORITY, desk.hear)],
        timers=[
            Timer("ca_bridge-redelivery", settings.redelivery, desk.fetch_missing),
            Timer("ca_bridge-overdue", 60.0, revoke_overdue),
        ],
    )
