"""What operators do to a running installation: topics, dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from cli.installation import DatabasePlace, KafkaPlace
from cli.telling import console
from events.errors import Refused
from events.kafka import Broker, apply_topics, check_topics, wanted
from services.runtime import migrate, tables
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.letters import Letter, letters, redrive
from services.runtime.outbox import Outbox
from services.runtime.settings import from_environment


async def apply() -> int:
    """Create the topics that are missing; 0 when all are there."""
    broker = _broker()
    made = await apply_topics(broker)
    out = console()
    for name in made:
        out.print(f"created {name}")
    out.print(f"{len(made)} created, {len(wanted()) - len(made)} were there")
    return 0


async def check() -> int:
    """Name what differs from the flow; 0 when nothing does, else 1."""
    found = await check_topics(_broker())
    out = console()
    for line in found:
        out.print(line)
    out.print(f"{len(found)} differences in {len(wanted())} topics")
    return 1 if found else 0


async def rebuild() -> int:
    """Delete the topics of the timeline's own; 0 when done."""
    from services.timeline.adapters.stream import forget  # Faust is large: imported only where it is needed

    gone = await forget(_broker())
    out = console()
    for name in gone:
        out.print(f"deleted {name}")
    out.print(f"{len(gone)} deleted; the next start of antin run timeline reads the topics from their beginning")
    return 0


async def again(group: str, data: Path, number: int | None, show: bool) -> int:
    """List a group's dead letters, or give them to it once more; 0 when done."""
    database = Database(from_environment(DatabasePlace, "database").resolved(data))
    clock = SystemClock()
    try:
        await migrate.upgrade(database, [tables.schema])
        found = await (
            letters(database, group) if show else redrive(database, Outbox(database, clock), clock, group, number)
        )
    finally:
        await database.close()
    console().print(_table(found) if found else f"{group}: no dead letters")
    return 0


def _table(found: Sequence[Letter]) -> Table:
    table = Table("letter", "event", "error", "found", "came from", "attempts", "given again")
    for one in found:
        again = "yes" if one.redriven else "no"
        table.add_row(str(one.number), one.event, one.error, one.found, one.origin, str(one.attempts), again)
    return table


def _broker() -> Broker:
    broker = from_environment(KafkaPlace, "kafka").broker()
    if broker is None:
        raise Refused(
            "no-broker",
            found="no ANTIN_KAFKA__BOOTSTRAP in the environment",
            expected="host:port of Apache Kafka",
            remedy="set it; the embedded bus has no topics to create",
        )
    return broker
