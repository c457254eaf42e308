"""Puts the contracts together: the only place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from events.binding import CertificateBound, CertificateReleased, CertificateRevoked, CertificateSuspended
from events.contract import ContractFact
from events.envelope import Event
from events.fact import Fact
from events.identity import (
    IdentityEnded,
    IdentityLocked,
    IdentityUnlocked,
    IdentityUpdated,
    IdentityVerified,
    OrganisationDissolved,
    OrganisationVerified,
    RepresentativeChanged,
)
from events.signing import DocumentSigned, SigningRefused
from events.verification import SignatureRejected, SignatureVerified
from services.contracts import handlers
from services.contracts.adapters.pdf_intake import PdfIntake
from services.contracts.adapters.store import SqlBook, SqlView, schema
from services.contracts.adapters.typst_maker import TypstMaker
from services.contracts.routes import Desk
from services.contracts.settings import ContractsSettings
from services.runtime.consume import Reaction, Subscriber
from services.runtime.database import Tx
from services.runtime.jwks import Jwks
from services.runtime.process import Platform, Service, Timer

NAME = "contracts"
AT_ONCE = 100
"""Contracts ended in one sweep of deadlines."""

IDENTITY: tuple[type[Fact], ...] = (
    IdentityVerified,
    IdentityUpdated,
    IdentityLocked,
    IdentityUnlocked,
    IdentityEnded,
    OrganisationVerified,
    RepresentativeChanged,
    OrganisationDissolved,
)
BINDING: tuple[type[Fact], ...] = (CertificateBound, CertificateSuspended, CertificateReleased, CertificateRevoked)
JUDGED: tuple[type[Fact], ...] = (DocumentSigned, SigningRefused, SignatureVerified, SignatureRejected)


def build(platform: Platform, settings: ContractsSettings) -> Service:
    """The contracts as a service of this process."""
    clock = platform.clock
    intake = PdfIntake(settings.limits, processes=settings.sandboxes)
    jwks = Jwks(platform.outbound, settings.authority_jwks or f"{settings.authority.rstrip('/')}/jwks.json", clock)

    async def say(tx: Tx, facts: Sequence[ContractFact], cause: Event[Any] | None = None) -> None:
        """Said by hand rather than returned: the evidence keeps the id of every event."""
        book = SqlBook(tx)
        for event in await platform.outbox.say(tx, NAME, facts, cause=cause):
            if isinstance(event.fact, ContractFact):
                await book.note(event.fact.contract, event)

    async def hear_identity(event: Event[Any], tx: Tx) -> Sequence[Fact]:
        await say(tx, await handlers.hear_identity(event.fact, book=SqlBook(tx), now=clock.now()), event)
        return ()

    async def hear_binding(event: Event[Any], tx: Tx) -> Sequence[Fact]:
        await say(tx, await handlers.hear_binding(event.fact, book=SqlBook(tx), now=clock.now()), event)
        return ()

    async def hear_judged(event: Event[Any], tx: Tx) -> Sequence[Fact]:
        book = SqlBook(tx)
        facts = await handlers.hear_judged(event.fact, book=book, now=clock.now())
        await book.note(event.fact.contract, event)
        await say(tx, facts, event)
        return ()

    async def expire() -> None:
        now = clock.now()
        async with platform.database.read() as conn:
            due = await SqlView(conn).due(now, AT_ONCE)
        for contract in due:
            async with platform.database.write() as tx:
                await say(tx, await handlers.expire(contract, book=SqlBook(tx), now=now))

    @asynccontextmanager
    async def view() -> AsyncIterator[SqlView]:
        async with platform.database.read() as conn:
            yield SqlView(conn)

    desk = Desk(
        book=SqlBook,
        view=view,
        say=say,
        intake=intake,
        maker=TypstMaker(),
        blobs=platform.blobs,
        jwks=jwks,
        issuer=settings.authority,
        clock=clock,
        limit=settings.octets,
        longest=timedelta(days=settings.longest_days),
    )
    reactions: dict[type[Fact], Reaction] = {
        **dict.fromkeys(IDENTITY, hear_identity),
        **dict.fromkeys(BINDING, hear_binding),
        **dict.fromkeys(JUDGED, hear_judged),
    }
    return Service(
        name=NAME,
        schemas=(schema,),
        routes=desk.routes(),
        subscribers=(Subscriber(NAME, reactions=reactions),),
        timers=(Timer("contracts-expiry", settings.expiry_every, expire),),
        resources=(intake,),
    )
