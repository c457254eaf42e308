"""What survives: every process, the broker and the database are killed while contracts flow. Prints and writes figures.

`python -m bench.crash --contracts 1000 --kills 100 --database-kills 5`
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bench.table import publish
from tests.support.real_line import PROCESSES, RealLine, real_line
from tests.support.traffic import Balance, Traffic, balance

VICTIMS = (*(name for name in PROCESSES if name != "intake"), "broker")


class Killer:
    """Kills one of them after a random time, again and again, spread over the whole traffic."""

    def __init__(self, line: RealLine, traffic: Traffic, asked: argparse.Namespace) -> None:
        self._line = line
        self._traffic = traffic
        self._asked = asked
        self._chance = random.Random(asked.seed)
        self.kills: Counter[str] = Counter()
        self.database_stops = 0

    async def run(self) -> None:
        """Until cancelled."""
        line, count = self._line, self._traffic.count
        each = count / (self._asked.kills + 5)
        stops = [count * (n + 1) / (self._asked.database_kills + 1) for n in range(self._asked.database_kills)]
        while True:
            await asyncio.sleep(self._chance.uniform(*self._asked.pause))
            if stops and self._traffic.done >= stops[0]:
                stops.pop(0)
                await asyncio.to_thread(line.postgres.kill)
                self.database_stops += 1
                await asyncio.sleep(self._chance.uniform(0.0, 3.0))
                await asyncio.to_thread(line.postgres.start)
            if self.kills.total() * each <= self._traffic.done + 2 * each:
                victim = self._chance.choice(VICTIMS)
                self.kills[victim] += 1
                if victim == "broker":
                    await asyncio.to_thread(line.kafka.kill)
                    await asyncio.sleep(self._chance.uniform(0.0, 2.0))
                    await asyncio.to_thread(line.kafka.start)
                else:
                    await line.processes[victim].kill()
            await line.all_up(settle=False)


async def _report(traffic: Traffic, killer: Killer) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        await asyncio.sleep(15)
        sys.stderr.write(
            f"{loop.time() - began:6.0f} s  {traffic.done} of {traffic.count} contracts, "
            f"{killer.kills.total()} kills, {killer.database_stops} hard stops of the database\n"
        )


async def _run(folder: Path, asked: argparse.Namespace) -> tuple[Balance, dict[str, Any]]:
    loop = asyncio.get_running_loop()
    async with real_line(folder) as line:
        traffic = await line.traffic(asked.contracts, at_once=asked.at_once)
        killer = Killer(line, traffic, asked)
        began = loop.time()
        flowing = asyncio.create_task(traffic.run())
        others = [asyncio.create_task(killer.run()), asyncio.create_task(_report(traffic, killer))]
        try:
            done, _ = await asyncio.wait({flowing, *others}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (flowing, *others):
                task.cancel()
            await asyncio.gather(flowing, *others, return_exceptions=True)
        seconds = loop.time() - began
        await line.all_up()
        events = await line.events()
        late = await line.undelivered(events)
        events = await line.events()
        differences, repeats = await line.log_differs(events)
        found = balance(events, asked.contracts)
        return found, {
            "kills": killer.kills.total(),
            "database_stops": killer.database_stops,
            "expected": found.expected,
            "signatures": found.signatures,
            "lost": found.lost,
            "double": found.double,
            "faults": [
                *found.faults,
                *([late] if late else []),
                *differences,
                *await line.dead_letters(),
                *await line.timeline_differs(),
            ],
            "contracts": asked.contracts,
            "repeated_on_the_bus": repeats,
            "seconds": round(seconds, 1),
            "seed": asked.seed,
            "processes": dict(sorted(killer.kills.items())),
        }


def main() -> int:
    """Run once; 0 when nothing was lost and nothing doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contracts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs of processes and broker, at least")
    parser.add_argument("--database-kills", type=int, default=5, help="hard stops of PostgreSQL")
    parser.add_argument("--at-once", type=int, default=24, help="contracts in flight")
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 8.0), help="seconds between kills, from and to")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--folder", type=Path, default=None, help="keeps everything for a look; by default a new one")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="antin-crash-"))
    found, document = asyncio.run(_run(folder, asked))
    title = (
        f"{document['kills']} kills, {asked.contracts} contracts: {found.signatures} of {found.expected} signatures, "
        f"{found.lost} lost, {found.double} double"
    )
    rows = [*document["processes"].items(), ("PostgreSQL, stopped hard", document["database_stops"])]
    publish("crash", title, ("killed", "times"), rows, document)
    for fault in document["faults"]:
        sys.stderr.write(f"FAULT: {fault}\n")
    enough = document["kills"] >= asked.kills and document["database_stops"] >= asked.database_kills
    return 0 if enough and not document["faults"] and not found.lost and not found.double else 1


if __name__ == "__main__":
    sys.exit(main())
