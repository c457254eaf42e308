"""Starts services, keeps them running and stops them in order: stop intake, finish what is in flight, close."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from events.bus import Bus, Step
from events.errors import Refused, Unavailable
from events.local import LocalBus
from services.runtime import face, migrate, tables
from services.runtime.access import Keyring
from services.runtime.blobs import Blobs
from services.runtime.clock import Clock, SystemClock
from services.runtime.consume import Consumer, Subscriber, break_leases
from services.runtime.database import Database, News, Schema
from services.runtime.openapi import documents
from services.runtime.outbound import Outbound
from services.runtime.outbox import Outbox, new_id
from services.runtime.pressure import Pressure
from services.runtime.web import Api, Route, edge

log = structlog.get_logger()

GRACE = 10.0
"""Seconds that work in flight is given at a stop; what is not done then is done after the next start."""


@dataclass(frozen=True)
class Timer:
    """Something to look after now and then."""

    name: str
    every: float
    action: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Inlet:
    """A topic on which the outside speaks to us, in its own form; only a bus that others can reach has it."""

    group: str
    topic: str
    step: Step


@dataclass(frozen=True)
class Service:
    """What a service gives the process that runs it; made by its `wiring.build`."""

    name: str
    schemas: Sequence[Schema] = ()
    routes: Sequence[Route] = ()
    subscribers: Sequence[Subscriber] = ()
    timers: Sequence[Timer] = ()
    inlets: Sequence[Inlet] = ()
    loops: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    resources: Sequence[AbstractAsyncContextManager[Any]] = ()


@dataclass
class Platform:
    """What every service is built on."""

    database: Database
    blobs: Blobs
    outbound: Outbound
    clock: Clock = field(default_factory=SystemClock)
    news: News = field(default_factory=News)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.database, self.clock, self.news)


@contextlib.contextmanager
def sole_user(folder: Path) -> Any:
    """Hold the data folder for this process alone.

    Raises:
        Refused: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise Refused(
                "data-folder-in-use",
                found=f"another process that works in {folder}",
                expected="one process for one data folder",
                remedy="stop the other one, or choose another folder with --data",
                status=409,
            ) from fault
        yield
    finally:
        os.close(handle)


@asynccontextmanager
async def running(
    platform: Platform,
    services: Sequence[Service],
    *,
    keyring: Keyring,
    host: str = "127.0.0.1",
    port: int = 0,
    alone: bool = True,
    bus: Bus | None = None,
    pressure: Pressure | None = None,
    owner: str | None = None,
) -> AsyncIterator[str]:
    """Run services until the block ends; yields the base URL of their API.

    `owner`: names this process over restarts, so that it may take up its own leases; two must not share a name.
    `alone`: this process is the only worker on the database, so leases of a dead predecessor are freed at once.
    """
    carrier = bus or LocalBus(platform.outbox)
    gauge = pressure or Pressure(platform.database)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(platform.database.close)
        await migrate.upgrade(platform.database, [tables.schema, *(s for service in services for s in service.schemas)])
        if alone:
            await break_leases(platform.database)
        await stack.enter_async_context(platform.outbound)
        for service in services:
            for resource in service.resources:
                await stack.enter_async_context(resource)

        loops: list[asyncio.Task[None]] = []
        owner = owner or new_id()
        for service in services:
            for subscriber in service.subscribers:
                consumer = Consumer(subscriber, platform.database, platform.outbox, platform.clock, owner)
                listen = partial(carrier.listen, subscriber.group, subscriber.topics, consumer.step)
                loops.append(asyncio.create_task(_forever(subscriber.group, listen), name=subscriber.group))
            loops.extend(asyncio.create_task(_regularly(timer), name=timer.name) for timer in service.timers)
            loops.extend(asyncio.create_task(_forever(name, loop), name=name) for name, loop in service.loops.items())
            for inlet in service.inlets if bus is not None else ():
                listen = partial(carrier.listen, inlet.group, [inlet.topic], inlet.step)
                loops.append(asyncio.create_task(_forever(inlet.group, listen), name=inlet.group))
        loops.append(asyncio.create_task(_regularly(Timer("pressure", gauge.every, gauge.measure)), name="pressure"))
        stack.push_async_callback(_stop, loops)

        routes = [*(route for service in services for route in service.routes), gauge.route()]
        app = web.Application(middlewares=[edge], client_max_size=1 << 20)
        Api(routes, platform.database, keyring, platform.clock, gauge).mount(app)
        documents(app, routes, loops)
        face.mount(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port)
        await site.start()
        found = runner.addresses[0]
        log.info("started", services=[service.name for service in services], port=found[1])
        yield f"http://{host}:{found[1]}"
        log.info("stopping")


async def _forever(group: str, listen: Callable[[], Awaitable[None]]) -> None:
    """Listen, and again when the database did not answer; any other fault ends it, and the process is not ready."""
    while True:
        try:
            return await listen()
        except asyncio.CancelledError:
            raise
        except Unavailable as wait:
            log.warning("listener-waits", group=group, code=wait.code)
            await asyncio.sleep(1.0)
        except Exception:
            log.exception("listener-failed", group=group)
            raise


async def _regularly(timer: Timer) -> None:
    while True:
        try:
            await timer.action()
        except Unavailable as wait:
            log.info("timer-waits", timer=timer.name, code=wait.code)
        except Exception:
            log.exception("timer-failed", timer=timer.name)
        await asyncio.sleep(timer.every)


async def _stop(loops: Sequence[asyncio.Task[None]]) -> None:
    for loop in loops:
        loop.cancel()
    if loops:
        await asyncio.wait(loops, timeout=GRACE)
