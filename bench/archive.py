"""Books that are full already: the rows of a finished contract are copied, under new ids, as often as asked.

For the question how the line grows. What is not copied: files in the blob store, and what lies on Kafka's topics.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from services.contracts.adapters import store as contracts
from services.notifier.adapters import store as notifier
from services.runtime import tables as runtime
from services.runtime.database import Database
from services.signer.adapters import store as signer
from services.timeline.adapters import store as timeline
from services.verifier.adapters import store as verifier

SCHEMAS = (runtime.schema, contracts.schema, signer.schema, verifier.schema, notifier.schema, timeline.schema)
BATCH = 250
"""Contracts in one transaction."""
Row = Mapping[str, Any]


async def size(database: Database) -> int:
    """How many contracts the books hold."""
    async with database.read() as conn:
        return int((await conn.execute(sa.select(sa.func.count()).select_from(contracts.contracts))).scalar_one())


async def grow(database: Database, upto: int, told: Callable[[int], None]) -> int:
    """Copy finished contracts until the books hold `upto`; returns how many rows one contract has.

    Nobody may be at work meanwhile: whoever reads the outbox is put behind the copies.
    """
    template, ids = await _template(database)
    held = await size(database)
    chance = random.Random(held)
    while held < upto:
        copies = [_renamed(ids, chance) for _ in range(min(BATCH, upto - held))]
        async with database.write() as tx:
            for table, rows in template:
                values = [_copied(table, row, change, chance) for change in copies for row in rows]
                await tx.conn.execute(sa.insert(table), values)
        held += len(copies)
        told(held)
    async with database.write() as tx:
        last = (await tx.execute(sa.select(sa.func.max(runtime.outbox.c.offset)))).scalar_one()
        await tx.execute(sa.update(runtime.cursors).values(offset=last))
    return sum(len(rows) for _, rows in template)


async def _template(database: Database) -> tuple[list[tuple[sa.Table, list[Row]]], set[str]]:
    """The rows of one completed contract by table, in the order of foreign keys, and the ids that are only its own."""
    found: list[tuple[sa.Table, list[Row]]] = []
    async with database.read() as conn:
        done = sa.select(contracts.contracts.c.id).where(contracts.contracts.c.state == "completed").limit(1)
        ids = {str((await conn.execute(done)).scalar_one())}
        said = (await conn.execute(sa.select(runtime.outbox))).all()
        sent = (await conn.execute(sa.select(notifier.messages.c.id, notifier.messages.c.event))).all()
        before: set[str] = set()
        while before != ids:  # a contract's facts, who was told of them, the facts about that
            before = set(ids)
            pattern = re.compile("|".join(map(re.escape, sorted(ids))))
            ids |= {row.event for row in said if pattern.search(f"{row.key} {row.headers} {row.body.decode()}")}
            ids |= {row.id for row in sent if row.event in ids}
        pattern = re.compile("|".join(map(re.escape, sorted(ids))))
        there = set(await conn.run_sync(lambda sync: sa.inspect(sync).get_table_names()))
        for schema in SCHEMAS:
            for table in (one for one in schema.metadata.sorted_tables if one.name in there):
                rows = [dict(row) for row in (await conn.execute(sa.select(table))).mappings()]
                own = [row for row in rows if any(pattern.search(_text(value)) for value in row.values())]
                if own:
                    found.append((table, own))
    return found, ids


def _renamed(ids: set[str], chance: random.Random) -> Callable[[str], str]:
    """A copy's names: each id keeps its time (RFC 9562 clause 5.7) and has other random bits."""
    names = {one: f"{one[:20]}{chance.getrandbits(12):03x}-{chance.getrandbits(48):012x}" for one in ids}
    pattern = re.compile("|".join(map(re.escape, names)))
    return lambda text: pattern.sub(lambda found: names[found.group()], text)


def _copied(table: sa.Table, row: Row, change: Callable[[str], str], chance: random.Random) -> dict[str, Any]:
    counted = [column.name for column in table.primary_key if column.autoincrement is True]
    copy = {name: _changed(value, change) for name, value in row.items() if name not in counted}
    keys = [column.name for column in table.primary_key if column.name not in counted]
    if keys and all(copy[name] == row[name] for name in keys):
        # A key that is no id of ours, for example an activation's: any other value of the same length will do.
        old = copy[keys[-1]]
        head, _, rest = old.rpartition(":")
        copy[keys[-1]] = f"{head}:"[: len(old) - len(rest)] + f"{chance.getrandbits(256):064x}"[: len(rest)]
    return copy


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, bytes):
        return change(value.decode("latin-1")).encode("latin-1")
    return change(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
