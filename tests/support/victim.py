"""`antin serve` in a process that is killed, and the toy world in one that is not."""

from __future__ import annotations

import asyncio
import atexit
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from lab.client import Lab
from tests.support.waiting import until
from tools.real.child import free_port


@dataclass
class Victim:
    """`antin serve` in a process of its own, killed and started again until told to stop."""

    folder: Path
    port: int
    environment: dict[str, str]
    kills: int = 0
    log: Any = None
    _process: asyncio.subprocess.Process | None = field(default=None)

    async def start(self) -> None:
        """Start it; return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "serve", "--no-lab"),
            *("--data", str(self.folder), "--port", str(self.port)),
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        process = self._process
        atexit.register(_end, process)  # a test that fails must leave nothing running

        async def answers() -> bool:
            assert process.returncode is None, f"antin serve ended with {process.returncode}; see {self.log.name}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            return True

        await until(answers, what="antin serve to answer", seconds=60)

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self.kills += 1

    async def stop(self) -> None:
        """SIGTERM, and it ends by itself."""
        assert self._process is not None
        self._process.terminate()
        assert await self.ended() == 0

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    async def ended(self) -> int:
        """Its exit code, once it has one."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), 40)

    async def be_killed(self, chance: random.Random) -> None:
        """Again and again, after a random time."""
        while True:
            await asyncio.sleep(chance.uniform(0.2, 6.0))
            await self.kill()
            await self.start()


def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def outside(folder: Path) -> AsyncIterator[str]:
    """The toy world in a process of its own: it is not killed, as the outside would not be."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "lab",
        "--data",
        str(folder),
        "--port",
        str(port),
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def ready(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def answers() -> bool:
        try:
            found.update(await lab.state())
        except aiohttp.ClientError:
            return False
        return True

    await until(answers, what="the toy world to answer", seconds=60)
    return found


def environment_of(state: dict[str, Any], *allowed: int) -> dict[str, str]:
    """The environment of an installation in this toy world; `allowed`: loopback ports that may be called, too."""
    urls = state["urls"]
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANTIN_")},
        "ANTIN_OUTSIDE__AUTHORITY": urls["authority"],
        "ANTIN_OUTSIDE__JWKS": urls["jwks"],
        "ANTIN_OUTSIDE__CA": urls["ca"],
        "ANTIN_OUTSIDE__TSA": urls["tsa"],
        "ANTIN_OUTSIDE__REGISTRY": urls["registry"],
        "ANTIN_OUTSIDE__ANCHORS": state["anchors"],
        "ANTIN_OUTSIDE__RA_TOKEN_FILE": state["ra_token_file"],
        "ANTIN_OUTSIDE__ALLOW": ",".join([state["host_port"], *(f"127.0.0.1:{port}" for port in allowed)]),
    }
