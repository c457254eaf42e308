"""Keeps everything running on loopback, with the toy outside world or with a configured one."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from cli.demo import outside_of
from cli.embedded import compose, embedded
from cli.installation import Installation, outside_from_environment
from cli.telling import console
from lab.world import World
from services.runtime.telemetry import log_to


async def run(data: Path, port: int, lab_port: int, lab: bool, check: bool) -> int:
    """Until a signal; 0 when it was stopped on request."""
    log_to()
    out = console()
    async with AsyncExitStack() as stack:
        world: World | None = None
        if lab:
            world = await stack.enter_async_context(World(data / "lab", lab_port))
            outside = outside_of(world)
        else:
            outside = outside_from_environment()
        if check:
            platform, services = compose(Installation.at(data), outside, port)
            await platform.database.close()
            out.print(f"settings are good: {', '.join(service.name for service in services)}")
            return 0
        running = await stack.enter_async_context(embedded(data, outside, port=port))
        if world is not None:
            world.connect(running.url, running.installation.recipient_jwk())
            out.print(f"toy outside world  http://127.0.0.1:{world.port}  (control: POST /control/...)")
        out.print(f"API                {running.url}")
        out.print(f"its description    {running.url}/docs")
        out.print(f"your key           {running.installation.secrets / 'api-key'}")
        out.print("Stop with Ctrl+C.")
        await _asked_to_stop()
    return 0


async def run_lab(data: Path, port: int) -> int:
    """The toy world alone, until a signal."""
    log_to()
    async with World(data, port) as world:
        console().print(f"toy outside world  http://127.0.0.1:{world.port}  (control: POST /control/...)")
        await _asked_to_stop()
    return 0


async def _asked_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()
