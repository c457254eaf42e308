"""How fast the line is: contracts a second, and from the request to sign to the release, on both ways to run it.

`python -m bench.line --contracts 100 --books 0 1000 100000`: the same traffic, two signers each, embedded in one
process, and as processes on Kafka, PostgreSQL and S3; each with books that hold so many contracts already. Shares of
the stages come from the facts' own times.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa

from bench.archive import grow, size
from bench.table import publish
from events.envelope import Event
from events.fact import Fact
from events.flow import TOPICS
from lab.client import Lab
from services.notifier.adapters.store import LEASED, WAITING, messages
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.runtime.tables import outbox
from services.timeline.model import ContractLine, contract_of, fold_contract, percentile, stages_of
from tests.support.house import house
from tests.support.real_line import real_line
from tests.support.traffic import SLOTS, Traffic, balance
from tests.support.waiting import until

REQUEST, RELEASED = "request to signature", "request to verification"
CHECKING = "signature to verification"


async def embedded(folder: Path, asked: argparse.Namespace) -> AsyncIterator[dict[str, Any]]:
    """Figures on the embedded default, one for each size of the books."""
    people: dict[str, str] = {}
    for books in asked.books:
        if books:
            await _fill(f"sqlite+aiosqlite:///{folder / 'data' / 'antin.db'}", books)
        async with house(folder) as one, aiohttp.ClientSession() as session:
            lab = Lab(f"http://127.0.0.1:{one.world.port}", session)
            traffic = Traffic(lab, one.client, asked.contracts, at_once=asked.at_once, people=people)
            if not people:
                await traffic.begin(one.running.installation.recipient_jwk(), one.running.url)
                people = traffic.people
            yield await _measured(one.running.platform.database, traffic)


async def on_kafka(folder: Path, asked: argparse.Namespace) -> AsyncIterator[dict[str, Any]]:
    """The same as processes on Kafka, PostgreSQL and S3."""
    async with real_line(folder) as line:
        database = Database(line.postgres.url)
        people: dict[str, str] = {}
        for books in asked.books:
            if books:
                for process in line.processes.values():
                    await process.stop()
                await _fill(line.postgres.url, books)
                await line.all_up()
            traffic = await line.traffic(asked.contracts, at_once=asked.at_once, people=people)
            people = traffic.people
            yield await _measured(database, traffic)
        await database.close()


async def _fill(url: str, books: int) -> None:
    database = Database(url)
    rows = await grow(database, books, lambda held: sys.stderr.write(f"\r{held} of {books} contracts in the books"))
    sys.stderr.write(f"; {rows} rows each\n")
    if not database.sqlite:
        async with database.write() as tx:  # as autovacuum would within a minute
            await tx.execute(sa.text("ANALYZE"))
    await database.close()


async def _measured(database: Database, traffic: Traffic) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    books = await size(database)
    async with database.read() as conn:
        before = (await conn.execute(sa.select(sa.func.max(outbox.c.offset)))).scalar_one()
    began = loop.time()
    await traffic.run()
    seconds = loop.time() - began
    await until(lambda: _delivered(database), what="every webhook", seconds=300)
    families = [topic.name for topic in TOPICS.values()]
    said = await Outbox(database, SystemClock()).read(families, before, 1_000_000)
    return {"books": books, **figures(seconds, [one.event() for one in said], traffic.count)}


async def _delivered(database: Database) -> bool:
    open_ones = sa.select(sa.func.count()).select_from(messages).where(messages.c.state.in_((WAITING, LEASED)))
    async with database.read() as conn:
        return bool((await conn.execute(open_ones)).scalar_one() == 0)


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


async def _run(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, way in (("embedded", embedded), ("kafka", on_kafka)):
        sys.stderr.write(f"{name}: {asked.contracts} contracts of {len(SLOTS)} signers ...\n")
        found[name] = [one async for one in way(folder / name, asked)]
    return found


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contracts", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=8, help="contracts in flight")
    parser.add_argument(
        "--books", type=int, nargs="+", default=[0, 1_000, 100_000], help="contracts in the books before, ascending"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="antin-line-") as folder:
        document = asyncio.run(_run(Path(folder), asked))
    rows = [
        (
            name,
            one["books"],
            f"{one['contracts_per_second']:.2f}",
            f"{one['contracts_per_second'] / found[0]['contracts_per_second']:.2f}",
            one["requested_to_released_ms"]["p50"],
            one["requested_to_released_ms"]["p99"],
            f"{100 * one['share']['signing']:.0f} %",
            f"{100 * one['share']['verification']:.0f} %",
        )
        for name, found in document.items()
        for one in found
    ]
    columns = ("on", "books", "contracts/s", "ratio", "p50 ms", "p99 ms", "signing", "checking")
    publish("line", f"{asked.contracts} contracts, {asked.at_once} at once", columns, rows, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
