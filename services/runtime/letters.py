"""Dead letters: what a group could not take, whole and with the reason, and how it is given to the group again."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from events.bus import Delivery
from events.errors import AntinError, Refused
from events.flow import dead_letters_of, groups, retries_of
from services.runtime.clock import Clock
from services.runtime.database import Database, Tx
from services.runtime.outbox import Outbox
from services.runtime.tables import inbox, outbox, redriven

TYPE = "vn.antin.dead-letter.v1"
LARGEST = 512 * 1024
"""Bytes of an original that are kept; no topic takes a message that large."""


@dataclass(frozen=True)
class Letter:
    """One dead letter. `number` is its place in the outbox."""

    number: int
    event: str
    error: str
    found: str
    origin: str
    attempts: int
    redriven: bool
    headers: Mapping[str, str]
    key: str
    original: bytes


async def bury(tx: Tx, outbox_: Outbox, group: str, delivery: Delivery, fault: AntinError) -> None:
    """Append a dead letter: the original message and why it could not be taken."""
    letter = {
        "event": delivery.identity,
        "topic": delivery.topic,
        "partition": delivery.partition,
        "offset": delivery.offset,
        "key": delivery.key,
        "attempts": delivery.attempt,
        "error": {
            "code": fault.code,
            "found": fault.found,
            "expected": fault.expected,
            "remedy": fault.remedy,
        },
        "headers": dict(delivery.headers),
        "original": base64.b64encode(delivery.body[:LARGEST]).decode(),
    }
    body = json.dumps(letter, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "antin-error": fault.code}
    await outbox_.append(tx, dead_letters_of(group), delivery.key[:80], TYPE, headers, body)


async def letters(database: Database, group: str) -> Sequence[Letter]:
    """A group's dead letters, oldest first."""
    query = (
        sa.select(outbox.c.offset, outbox.c.body, redriven.c.at)
        .outerjoin(redriven, redriven.c.letter == outbox.c.offset)
        .where(outbox.c.topic == dead_letters_of(group))
        .order_by(outbox.c.offset)
    )
    async with database.read() as conn:
        rows = (await conn.execute(query)).all()
    return [_letter(row.offset, json.loads(bytes(row.body)), redriven=row.at is not None) for row in rows]


async def redrive(
    database: Database, outbox_: Outbox, clock: Clock, group: str, number: int | None = None
) -> Sequence[Letter]:
    """Give dead letters to their group once more, and only to that group: the same event id, bytes and headers.

    `number`: only this one; without it all that were not given again yet.

    Raises:
        Refused: there is no such group or letter.
    """
    if group not in groups():
        raise Refused(
            "unknown-group",
            found="a consumer group that is not in the flow",
            expected=", ".join(groups()),
            remedy="name one of them",
            status=404,
        )
    known = await letters(database, group)
    chosen = [one for one in known if (one.number == number if number is not None else not one.redriven)]
    if number is not None and not chosen:
        raise Refused(
            "unknown-letter",
            found=f"no dead letter {number} of {group}",
            expected="a number from the list",
            remedy=f"antin redrive {group} --list",
            status=404,
        )
    again = next(iter(retries_of(group)))
    for letter in chosen:
        async with database.write() as tx:
            await tx.execute(inbox.delete().where(inbox.c.consumer == group, inbox.c.event == letter.event))
            await tx.execute(redriven.delete().where(redriven.c.letter == letter.number))
            await tx.execute(redriven.insert().values(letter=letter.number, at=clock.now()))
            await outbox_.append(tx, again, letter.key, "vn.antin.redrive.v1", letter.headers, letter.original)
    return chosen


def _letter(number: int, read: dict[str, Any], *, redriven: bool) -> Letter:
    return Letter(
        number=number,
        event=read["event"],
        error=read["error"]["code"],
        found=read["error"]["found"],
        origin=f"{read['topic']}/{read['partition']}/{read['offset']}",
        attempts=read["attempts"],
        redriven=redriven,
        headers=read["headers"],
        key=read["key"],
        original=base64.b64decode(read["original"]),
    )
