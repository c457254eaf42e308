"""Puts the verifier together: the only place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from events.envelope import Event
from events.errors import Refused
from events.fact import Fact
from events.signing import DocumentSigned
from services.runtime.consume import Subscriber
from services.runtime.database import Tx
from services.runtime.door import Door
from services.runtime.process import Platform, Service
from services.verifier import handlers
from services.verifier.adapters import store
from services.verifier.adapters.inspector import SandboxedInspector
from services.verifier.adapters.papers import Papers
from services.verifier.adapters.seal import seal_from
from services.verifier.adapters.status import OnlineStatus
from services.verifier.adapters.trust_folder import TrustFolders
from services.verifier.ports import Inspector
from services.verifier.routes import routes
from services.verifier.sandbox import DRAWING, Limits, Sandbox
from services.verifier.settings import VerifierSettings
from services.verifier.uploads import Desk

NAME = "verifier"


@dataclass(frozen=True)
class Judging:
    """The work on DocumentSigned (services.runtime.consume.Work)."""

    platform: Platform
    inspector: Inspector

    def key(self, event: Event[DocumentSigned]) -> str:
        """One signed file of one slot is judged once."""
        return f"{event.fact.contract}/{event.fact.slot}/{event.fact.signed.hex[:32]}"

    async def plan(self, event: Event[DocumentSigned], tx: Tx) -> DocumentSigned:
        """Nothing to look up: the claim says where the file is."""
        return event.fact

    async def act(self, plan: DocumentSigned) -> handlers.Ruling:
        """Judge, outside any transaction; a repetition keeps another report and no harm."""
        return await handlers.judge(plan, vault=self.platform.blobs, inspector=self.inspector)

    async def finish(
        self, event: Event[DocumentSigned], plan: DocumentSigned, result: handlers.Ruling, tx: Tx
    ) -> Sequence[Fact]:
        """Say the ruling."""
        return await handlers.say(plan, result, register=store.SqlRegister(tx), clock=self.platform.clock)

    async def refuse(self, event: Event[DocumentSigned], fault: Refused, tx: Tx) -> Sequence[Fact]:
        """The file cannot even be fetched as what it is called: nothing can be said about it but by an operator."""
        raise fault


def build(platform: Platform, settings: VerifierSettings) -> Service:
    """The verifier as a service of this process.

    Raises:
        Refused: no trusted certificate, or a set that cannot be read.
        Malformed: a seal that cannot be used.
    """
    limits = Limits(size=settings.file_limit, cpu=settings.cpu, wall=settings.wall, memory=settings.memory)
    sandbox = Sandbox(limits, settings.workers)
    fetcher = (
        OnlineStatus(platform.outbound, timeout=settings.status_timeout, limit=settings.status_limit)
        if settings.fetch_status
        else None
    )
    trust = TrustFolders(settings.anchors, settings.trust, platform.clock)
    gate = SandboxedInspector(sandbox, trust.now, platform.clock, fetcher=fetcher)
    # Uploads of strangers never make the service call anybody: they are judged offline.
    offline = SandboxedInspector(sandbox, trust.now, platform.clock)
    door = Door(settings.upload_rate, settings.waiting, settings.upload_each, platform.clock, settings.trusted_proxies)
    seal = seal_from(
        settings.seal_key_file, settings.seal_chain_file, platform.clock, platform.outbound, settings.seal_tsa
    )
    papers = Papers(seal)
    desk = Desk(
        offline, sandbox, papers, door, settings.upload_limit, settings.upload_seconds, settings.wall + DRAWING.wall
    )
    return Service(
        NAME,
        schemas=(store.schema,),
        routes=(*routes(store.SqlReader(platform.database), platform.blobs, papers, sandbox), *desk.routes()),
        subscribers=(Subscriber(NAME, works={DocumentSigned: Judging(platform, gate)}),),
        resources=(sandbox,),
    )
