"""How fast the line is: contracts a second, and from the request to sign to the release, on both ways to run it.

`python -m bench.line --contracts 100`; the same contracts, two signers each, embedded in one process, and as processes
on Kafka, PostgreSQL and S3. Shares of the stages come from the facts' own times.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.table import percentile, publish
from events.envelope import Event
from events.fact import Fact
from lab.client import Lab
from services.timeline.model import ContractLine, contract_of, fold_contract, stages_of
from tests.support.house import house
from tests.support.real_line import real_line
from tests.support.traffic import SLOTS, Traffic, balance

REQUEST, RELEASED = "request to signature", "request to verification"
CHECKING = "signature to verification"


async def embedded(folder: Path, count: int, at_once: int) -> tuple[float, list[Event[Fact]]]:
    """Seconds and facts on the embedded default."""
    loop = asyncio.get_running_loop()
    async with house(folder) as one:
        lab = Lab(f"http://127.0.0.1:{one.world.port}", one.client._session)
        traffic = Traffic(lab, one.client, count, at_once=at_once)
        await traffic.begin(one.running.installation.recipient_jwk(), one.running.url)
        began = loop.time()
        await traffic.run()
        return loop.time() - began, await one.events()


async def on_kafka(folder: Path, count: int, at_once: int) -> tuple[float, list[Event[Fact]]]:
    """Seconds and facts as processes on Kafka, PostgreSQL and S3."""
    loop = asyncio.get_running_loop()
    async with real_line(folder) as line:
        traffic = await line.traffic(count, at_once=at_once)
        began = loop.time()
        await traffic.run()
        return loop.time() - began, await line.events()


def figures(seconds: float, events: Sequence[Event[Fact]], count: int) -> dict[str, Any]:
    """What the facts' times say.

    Raises:
        AssertionError: something was lost, doubled or out of order; then no figure counts.
    """
    found = balance(events, count)
    if found.lost or found.double or found.faults:
        raise AssertionError(f"not a good run: {found}")
    lines: dict[str, ContractLine] = {}
    for event in events:
        if (contract := contract_of(event)) is not None:
            lines[contract] = fold_contract(lines.get(contract, ContractLine(contract=contract)), event)
    by_stage: dict[str, list[float]] = {}
    for line in lines.values():
        for stage, took in stages_of(line):
            by_stage.setdefault(stage, []).append(took)
    whole = sum(by_stage[RELEASED])
    return {
        "contracts": count,
        "seconds": round(seconds, 1),
        "contracts_per_second": round(count / seconds, 2),
        "signatures_per_second": round(count * len(SLOTS) / seconds, 2),
        "requested_to_released_ms": {
            "p50": round(percentile(by_stage[RELEASED], 0.5), 1),
            "p99": round(percentile(by_stage[RELEASED], 0.99), 1),
        },
        "share": {
            "signing": round(sum(by_stage[REQUEST]) / whole, 3),
            "verification": round(sum(by_stage[CHECKING]) / whole, 3),
        },
    }


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contracts", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=8, help="contracts in flight")
    asked = parser.parse_args()
    document: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="antin-line-") as folder:
        for name, way in (("embedded", embedded), ("kafka", on_kafka)):
            sys.stderr.write(f"{name}: {asked.contracts} contracts of {len(SLOTS)} signers ...\n")
            seconds, events = asyncio.run(way(Path(folder) / name, asked.contracts, asked.at_once))
            document[name] = figures(seconds, events, asked.contracts)
    document["kafka_to_embedded"] = round(
        document["kafka"]["contracts_per_second"] / document["embedded"]["contracts_per_second"], 2
    )
    rows = [
        (
            name,
            document[name]["contracts_per_second"],
            document[name]["requested_to_released_ms"]["p50"],
            document[name]["requested_to_released_ms"]["p99"],
            f"{100 * document[name]['share']['signing']:.0f} %",
            f"{100 * document[name]['share']['verification']:.0f} %",
        )
        for name in ("embedded", "kafka")
    ]
    columns = ("on", "contracts/s", "p50 ms", "p99 ms", "signing", "verification")
    publish("line", f"{asked.contracts} contracts, {asked.at_once} at once", columns, rows, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
