"""The whole line in processes of their own: a private key is in no other process, log, event, file or core dump."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cli.client import Client
from lab.client import Lab
from tests.support.memory import in_files, in_process, parts
from tests.support.traffic import SLOTS, Traffic
from tests.support.victim import Victim, environment_of, outside, ready
from tools.real.child import free_port


def below(pid: int) -> set[int]:
    """The processes that this one started, and those that they did."""
    started: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(place.read_text().rpartition(")")[2].split()[1])
            started.setdefault(parent, []).append(int(place.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = started.get(waiting.pop(), [])
        found.update(children)
        waiting.extend(children)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/PID")
@pytest.mark.timeout(300)
async def test_a_private_key_is_in_no_other_process_log_event_file_or_core_dump(tmp_path: Path) -> None:
    """Circular 15/2025/TT-BKHCN Art 5 S2. `antin serve` with keys in files: the weakest of the stores."""
    port = free_port()
    before = resource.getrlimit(resource.RLIMIT_CORE)
    async with (
        outside(tmp_path / "lab") as base,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        lab = Lab(base, session)
        environment = environment_of(await ready(lab))
        with (tmp_path / "serve.log").open("wb") as log:
            resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))  # what is started inherits it
            try:
                victim = Victim(tmp_path / "data", port, environment, log=log)
                await victim.start()
            finally:
                resource.setrlimit(resource.RLIMIT_CORE, before)
            key = (tmp_path / "data" / "secrets" / "api-key").read_text().strip()
            client = Client(f"http://127.0.0.1:{port}", key, session, patient=True)
            traffic = Traffic(lab, client, 1)
            identity = json.loads((tmp_path / "data" / "secrets" / "identity-key.jwk").read_text())
            await traffic.begin({name: value for name, value in identity.items() if name != "d"}, client.url)
            await traffic.run()

            passphrase = (tmp_path / "data" / "secrets" / "keystore-passphrase").read_bytes().strip()
            files = list((tmp_path / "data" / "keys").iterdir())
            assert len(files) >= len(SLOTS)
            sought: dict[str, bytes] = {}
            for number, file in enumerate(files):
                for name, value in parts(load_pem_private_key(file.read_bytes(), passphrase)).items():
                    sought[f"{number} {name}"] = value
            others = below(os.getpid()) - {victim.pid}
            assert len(others) >= 2  # the toy world, and the verifier's confined processes
            assert {pid: in_process(pid, sought) for pid in others} == {pid: set() for pid in others}
            assert in_process(victim.pid, sought)  # the control: it has signed
            assert resource.prlimit(victim.pid, resource.RLIMIT_CORE) == (0, 0)
            os.kill(victim.pid, signal.SIGABRT)
            assert await victim.ended() == -signal.SIGABRT
            assert list(Path.cwd().glob("core*")) == []
    assert in_files(tmp_path, sought) == set()
