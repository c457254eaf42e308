"""Keeps services running: all of them on loopback with the toy outside world, or some with a configured one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path

from cli.composition import RUNNABLE, Running, at_work, compose
from cli.demo import outside_of
from cli.installation import Installation, Outside, outside_from_environment
from cli.seal import seal_from_lab
from cli.telling import console
from lab.world import World
from services.runtime.memory import keep_private
from services.runtime.telemetry import log_to


async def run(data: Path, port: int, lab_port: int, lab: bool, check: bool) -> int:
    """Everything, until a signal; 0 when it was stopped on request."""
    log_to()
    keep_private()
    async with AsyncExitStack() as stack:
        world: World | None = None
        if lab:
            world = await stack.enter_async_context(World(data / "lab", lab_port))
            outside = outside_of(world)
            await seal_from_lab(world, data)
        else:
            outside = outside_from_environment()
        if check:
            return await _check(data, outside, port, RUNNABLE)
        running = await stack.enter_async_context(at_work(data, outside, port=port))
        if world is not None:
            world.connect(running.url, running.installation.recipient_jwk())
            console().print(f"toy outside world  http://127.0.0.1:{world.port}  (control: POST /control/...)")
        await _until_stopped(running)
    return 0


async def run_some(names: Collection[str], data: Path, host: str, port: int, check: bool) -> int:
    """These services, until a signal; 0 when they were stopped on request."""
    log_to()
    keep_private()
    outside = outside_from_environment()
    if check:
        return await _check(data, outside, port, names)
    async with at_work(data, outside, names=names, host=host, port=port) as running:
        await _until_stopped(running)
    return 0


async def run_lab(data: Path, port: int) -> int:
    """The toy world alone, until a signal."""
    log_to()
    async with World(data, port) as world:
        console().print(f"toy outside world  http://127.0.0.1:{world.port}  (control: POST /control/...)")
        await _asked_to_stop()
    return 0


async def _check(data: Path, outside: Outside, port: int, names: Collection[str]) -> int:
    made = compose(Installation.at(data), outside, port, names=names)
    await made.platform.database.close()
    console().print(f"settings are good: {', '.join(service.name for service in made.services)} on {made.on}")
    return 0


async def _until_stopped(running: Running) -> None:
    out = console()
    out.print(f"running            {', '.join(running.names)} on {running.on}")
    out.print(f"API                {running.url}")
    out.print(f"its description    {running.url}/docs")
    if "verifier" in running.names:
        out.print(f"verify a document  {running.url}/verify")
    out.print(f"your key           {running.installation.secrets / 'api-key'}")
    out.print("Stop with Ctrl+C.")
    await _asked_to_stop()


async def _asked_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()
