"""One approval, many documents: how fast, and what survives when the signer and its caller are killed meanwhile.

`python -m bench.batch --documents 10000 --kills 10`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from bench.table import publish
from cli.batch import order_of
from cli.client import Client
from events.values import CredentialId
from lab.client import Lab
from tests.support.pdfs import minimal
from tests.support.traffic import Traffic
from tests.support.victim import Victim, environment_of, outside, ready
from tests.support.waiting import until
from tools.real.child import free_port

_SIGNATURE = b"/ETSI.CAdES.detached"
"""What every signature of ours says of itself, once."""


async def run(folder: Path, documents: int, kills: int, level: str, seed: int) -> dict[str, Any]:
    """Sign `documents` PDFs under one approval while the signer and the command are killed in turn."""
    loop, chance = asyncio.get_running_loop(), random.Random(seed)
    source, out, port = folder / "in", folder / "out", free_port()
    source.mkdir(parents=True)
    for n in range(documents):
        (source / f"{n:05}.pdf").write_bytes(minimal(f"Document number {n}"))
    async with (
        outside(folder / "lab") as base,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        lab = Lab(base, session)
        state = await ready(lab)
        environment = environment_of(state, port)
        async with session.get(state["urls"]["jwks"]) as answer:
            (folder / "jwks.json").write_bytes(await answer.read())
        with (folder / "serve.log").open("wb") as log:
            victim = Victim(folder / "data", port, environment, log=log)
            await victim.start()
            secrets = folder / "data" / "secrets"
            client = Client(f"http://127.0.0.1:{port}", (secrets / "api-key").read_text().strip(), session)
            traffic = Traffic(lab, client, 0)
            identity = json.loads((secrets / "identity-key.jwk").read_text())
            await traffic.begin({name: value for name, value in identity.items() if name != "d"}, client.url)
            holder = traffic.people["first"]
            found = (await client.get(f"/v1/applications?identity={holder}"))["applications"][-1]
            credential = CredentialId(found["credential"])
            asked = order_of(source).to_approve(credential)
            token = await lab.step_up(holder, asked["purpose"], asked["digest"], asked["txn"])
            (folder / "activation").write_text(token)
            command = [
                *(sys.executable, "-m", "cli.main", "batch", "sign", str(source), "--out", str(out)),
                *("--credential", credential, "--activation", str(folder / "activation"), "--level", level),
                *("--url", client.url, "--key-file", str(secrets / "api-key")),
            ]
            killed: Counter[str] = Counter()
            began = loop.time()
            process = await asyncio.create_subprocess_exec(*command, stderr=log)

            async def opened() -> bool:
                return await asyncio.to_thread((out / "batch.json").exists)

            await until(opened, what="the batch to be opened", seconds=60)
            steps = iter(documents * (n + 1) // (kills + 1) for n in range(kills))
            due = next(steps, None)
            while process.returncode is None or process.returncode != 0:
                if process.returncode is not None:
                    # The command ends when the signer is away: the same command resumes.
                    process = await asyncio.create_subprocess_exec(*command, stderr=log)
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 0.1)
                if due is not None and len(list(out.glob("*.proof.json"))) >= due:
                    due = next(steps, None)
                    await asyncio.sleep(chance.uniform(0.0, 0.3))
                    if killed.total() % 2 == 0:
                        await victim.kill()
                        killed["signer"] += 1
                        await victim.start()
                    elif process.returncode is None:
                        process.kill()
                        killed["command"] += 1
            seconds = loop.time() - began
            await victim.stop()
    check = ("-m", "cli.main", "batch", "check", str(out), "--jwks", str(folder / "jwks.json"))
    checked = await asyncio.create_subprocess_exec(sys.executable, *check)
    proven = await checked.wait() == 0
    signed = [await asyncio.to_thread(path.read_bytes) for path in sorted(out.glob("*.pdf"))]
    counts = [pdf.count(_SIGNATURE) for pdf in signed]
    return {
        "documents": documents,
        "signatures": sum(counts),
        "lost": documents - sum(count > 0 for count in counts),
        "double": sum(count - 1 for count in counts if count),
        "proofs_hold": proven,
        "killed": dict(killed),
        "level": level,
        "seconds": round(seconds, 1),
        "per_second": round(documents / seconds, 1),
    }


def main() -> int:
    """Run once; 0 when every document is signed once and provable."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--level", choices=["B", "T", "LT", "LTA"], default="T")
    parser.add_argument("--seed", type=int, default=20261125)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="antin-batch-"))
    found = asyncio.run(run(folder, asked.documents, asked.kills, asked.level, asked.seed))
    title = f"{found['documents']} documents, one approval, PAdES-BASELINE-{asked.level}"
    publish("batch", title, ("", "figure"), [(name, str(value)) for name, value in found.items()], found)
    whole = found["signatures"] == found["documents"] and not found["lost"] and not found["double"]
    return 0 if whole and found["proofs_hold"] else 1


if __name__ == "__main__":
    sys.exit(main())
