"""HTTP out: contracts, certificates and figures as the events tell them, a live feed, and a page to look at it.

The feed answers when something has changed, at the latest after some seconds (long polling): it works with a bearer key
and under a strict CSP, which an EventSource does not.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from events.errors import Refused, Unavailable
from services.runtime import face
from services.runtime.access import Public, Scope
from services.runtime.web import Call, Reply, Route
from services.timeline.model import ContractLine, IdentityLine, latencies, per_minute
from services.timeline.ports import Tables

PAGE = 100
FOR_FIGURES = 1000
LISTENERS = 100
WAIT = 25.0
POLL = 0.5
READ = Scope("timeline:read")
FILES = face.FILES / "timeline"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class StepView(BaseModel):
    """One fact of a contract."""

    fact: str
    slot: str | None = None
    at: datetime
    event: str


class ContractView(BaseModel):
    """A contract as the events tell it."""

    contract: str
    state: str
    changed: str
    steps: list[StepView]


class ContractPage(BaseModel):
    """Some contracts; `next` is the `after` of the following page."""

    contracts: list[ContractView]
    next: str | None = None


class CertificateView(BaseModel):
    """A certificate and its state."""

    certificate: str
    state: str
    since: datetime


class IdentityView(BaseModel):
    """An identity's certificates."""

    identity: str
    certificates: list[CertificateView]


class StageView(BaseModel):
    """How long a stage takes, in milliseconds, over the newest contracts."""

    stage: str
    count: int
    p50: float
    p99: float


class MinuteView(BaseModel):
    """Events of a family in a minute."""

    minute: str
    family: str
    events: int


class Figures(BaseModel):
    """Latencies and rates."""

    stages: list[StageView]
    minutes: list[MinuteView]


class Feed(BaseModel):
    """What has changed; `since` is asked for next."""

    contracts: list[ContractView]
    since: str


class Asked(BaseModel):
    """Which contracts."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, Field(max_length=36)] | None = None
    state: Literal["sent", "completed", "withdrawn", "expired", "voided", "declined"] | None = None


class Since(BaseModel):
    """From where on."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[str, Field(max_length=36, pattern=r"^[0-9a-f-]*$")] = ""


class Desk:
    """The handlers behind the routes."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._listeners = 0

    async def contract(self, call: Call) -> Reply:
        """One contract."""
        line = await self._tables.contract(call.path["contract"])
        if line is None:
            raise _unknown("contract")
        return Reply(_view(line))

    async def contracts(self, call: Call) -> Reply:
        """A page of contracts, newest first."""
        lines = await self._tables.contracts(call.query.after, call.query.state, PAGE)
        following = lines[-1].contract if len(lines) == PAGE else None
        return Reply(ContractPage(contracts=[_view(line) for line in lines], next=following))

    async def identity(self, call: Call) -> Reply:
        """One identity's certificates."""
        line = await self._tables.identity(call.path["identity"])
        if line is None:
            raise _unknown("identity with certificates")
        return Reply(_certificates(line))

    async def figures(self, _: Call) -> Reply:
        """Latencies of the newest contracts, and events by minute."""
        lines = await self._tables.contracts(None, None, FOR_FIGURES)
        stages = [
            StageView(stage=stage, count=count, p50=round(p50, 1), p99=round(p99, 1))
            for stage, (count, p50, p99) in latencies(lines).items()
        ]
        minutes = [
            MinuteView(minute=minute, family=family, events=events)
            for minute, family, events in per_minute(await self._tables.counts())
        ]
        return Reply(Figures(stages=stages, minutes=minutes))

    async def feed(self, call: Call) -> Reply:
        """Wait for a change."""
        if self._listeners >= LISTENERS:
            raise Unavailable(
                "too-many-listeners",
                found=f"{LISTENERS} who listen already",
                expected="fewer",
                remedy="try again in some seconds",
                retry_after=5,
            )
        self._listeners += 1
        try:
            since: str = call.query.since
            if not since:
                newest = await self._tables.contracts(None, None, PAGE)
                lines = sorted(newest, key=lambda line: line.changed)
                return _feed(lines, since)
            last = asyncio.get_running_loop().time() + WAIT
            while True:
                lines = list(await self._tables.changed(since, PAGE))
                if lines or asyncio.get_running_loop().time() >= last:
                    return _feed(lines, since)
                await asyncio.sleep(POLL)
        finally:
            self._listeners -= 1

    def routes(self) -> list[Route]:
        """The timeline's operations."""
        tag, shell = "timeline", Public("the page holds no data: it asks for them with the reader's key")
        return [
            Route(
                "GET", "/v1/timeline/contracts", self.contracts, "List contracts", tag, READ, ContractPage, query=Asked
            ),
            Route("GET", "/v1/timeline/contracts/{contract}", self.contract, "One contract", tag, READ, ContractView),
            Route("GET", "/v1/timeline/identities/{identity}", self.identity, "One identity", tag, READ, IdentityView),
            Route("GET", "/v1/timeline/figures", self.figures, "Latencies and rates", tag, READ, Figures),
            Route(
                "GET",
                "/v1/timeline/feed",
                self.feed,
                "Wait for a change",
                tag,
                READ,
                Feed,
                query=Since,
                description="Answers as soon as a contract has changed after `since`, at the latest after 25 s.",
            ),
            _file("/timeline", "index.html", "text/html; charset=utf-8", tag, shell),
            _file("/timeline/page.js", "page.js", "text/javascript; charset=utf-8", tag, shell),
            _file("/timeline/page.css", "page.css", "text/css; charset=utf-8", tag, shell),
        ]


def _file(path: str, name: str, media: str, tag: str, access: Public) -> Route:
    async def answer(_: Call) -> Reply:
        body = await asyncio.to_thread((FILES / name).read_bytes)
        return Reply(body, media=media, headers={"Content-Security-Policy": CSP})

    return Route("GET", path, answer, "The live page", tag, access, media, internal=True)


def _feed(lines: list[ContractLine], since: str) -> Reply:
    return Reply(Feed(contracts=[_view(line) for line in lines], since=lines[-1].changed if lines else since))


def _view(line: ContractLine) -> ContractView:
    steps = [
        StepView(fact=key.partition("/")[0], slot=key.partition("/")[2] or None, at=step.at, event=step.event)
        for key, step in line.steps.items()
    ]
    steps.sort(key=lambda step: step.event)
    return ContractView(contract=line.contract, state=line.state, changed=line.changed, steps=steps)


def _certificates(line: IdentityLine) -> IdentityView:
    found = [
        CertificateView(certificate=digest, state=one.state, since=one.at)
        for digest, one in sorted(line.certificates.items(), key=lambda item: item[1].event)
    ]
    return IdentityView(identity=line.identity, certificates=found)


def _unknown(what: str) -> Refused:
    return Refused(
        "not-in-the-timeline",
        found=f"no {what} of this id",
        expected="one that some event told of",
        remedy="wait a moment when it is new, or correct the id",
        status=404,
    )
