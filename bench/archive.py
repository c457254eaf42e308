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
                values = [row.copy(names, chance) for names in copies for row in rows]
                await tx.conn.execute(sa.insert(table), values)
        held += len(copies)
        told(held)
    async with database.write() as tx:
        last = (await tx.execute(sa.select(sa.func.max(runtime.outbox.c.offset)))).scalar_one()
        await tx.execute(sa.update(runtime.cursors).values(offset=last))
    return sum(len(rows) for _, rows in template)


class _Row:
    """One row of the template, cut where its ids stand."""

    def __init__(self, table: sa.Table, row: Row, ids: re.Pattern[str]) -> None:
        counted = [column.name for column in table.primary_key if column.autoincrement is True]
        self._same = {name: value for name, value in row.items() if name not in counted}
        self._cut = {
            name: ids.split(_text(value))
            for name, value in self._same.items()
            if isinstance(value, str | bytes) and ids.search(_text(value))
        }
        keys = [column.name for column in table.primary_key if column.name not in counted]
        self._key = keys[-1] if keys and not set(keys) & set(self._cut) else None

    def copy(self, names: Mapping[str, str], chance: random.Random) -> dict[str, Any]:
        found = dict(self._same)
        for name, parts in self._cut.items():
            text = "".join([names.get(part, part) for part in parts])
            found[name] = text.encode("latin-1") if isinstance(found[name], bytes) else text
        if self._key is not None:
            # A key that is no id of ours, for example an activation's: any other value of the same length will do.
            old = found[self._key]
            rest = len(old.rpartition(":")[2])
            found[self._key] = old[: len(old) - rest] + f"{chance.getrandbits(256):064x}"[:rest]
        return found


async def _template(database: Database) -> tuple[list[tuple[sa.Table, list[_Row]]], set[str]]:
    """The rows of one completed contract by table, in the order of foreign keys, and the ids that are only its own."""
    found: list[tuple[sa.Table, list[_Row]]] = []
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
        pattern = re.compile(f"({'|'.join(map(re.escape, sorted(ids)))})")
        there = set(await conn.run_sync(lambda sync: sa.inspect(sync).get_table_names()))
        for schema in SCHEMAS:
            for table in (one for one in schema.metadata.sorted_tables if one.name in there):
                rows = [dict(row) for row in (await conn.execute(sa.select(table))).mappings()]
                own = [
                    _Row(table, row, pattern)
                    for row in rows
                    if any(pattern.search(_text(value)) for value in row.values())
                ]
                if own:
                    found.append((table, own))
    return found, ids


def _renamed(ids: set[str], chance: random.Random) -> dict[str, str]:
    """A copy's names: each id keeps its time (RFC 9562 clause 5.7) and has other random bits."""
    return {one: f"{one[:20]}{chance.getrandbits(12):03x}-{chance.getrandbits(48):012x}" for one in sorted(ids)}


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
