"""How long is it from the lock of an identity to the refusal of its next signature?

Usage: python -m bench.lock_to_refusal [N]. Each round: a party approves a contract whose turn is still to come, its
identity is locked at the authority, and the signature is asked for at once through the signer's own topic. Measured on
the machine's clock, from before the authority signs the event: intake accepted, certificate suspended here, and a
signature ordered at that moment refused.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.table import publish
from events.contract import SigningRequested
from events.flow import TOPICS
from events.values import BaselineLevel, ContractId, Digest, Slot
from services.runtime.outbox import new_id
from services.runtime.tables import outbox
from services.runtime.telemetry import log_to
from services.timeline.model import percentile
from tests.support.house import House, Signatory, house
from tests.support.pdfs import minimal

STAGES = ("intake accepted", "certificate suspended", "signature refused")


async def one_round(place: House, index: int) -> dict[str, float]:
    """Milliseconds from the lock to each stage."""
    party = await place.citizen(index)
    bound = (await place.facts("CertificateBound", identity=party.identity))[0]
    order = await _order(place, party, bound)
    end = await _end(place)
    started = time.perf_counter()
    found: dict[str, float] = {}

    def mark(stage: str) -> None:
        found[stage] = (time.perf_counter() - started) * 1000

    place.world.authority.lock(party.identity)
    await place.world.deliver()
    mark(STAGES[0])
    await _heard(place, "CertificateSuspended", end, identity=party.identity)
    mark(STAGES[1])
    async with place.running.platform.database.write() as tx:
        await place.running.platform.outbox.say(tx, "contracts", [order])
    await _heard(place, "SigningRefused", end, contract=order.contract)
    mark(STAGES[2])
    refused = (await place.facts("SigningRefused", contract=order.contract))[0]
    if refused.reason != "certificate-suspended":
        raise SystemExit(f"found the reason {refused.reason}; expected certificate-suspended")
    return found


async def _order(place: House, party: Signatory, bound: Any) -> SigningRequested:
    """An order that would be followed but for the lock."""
    blobs = place.running.platform.blobs
    base = await blobs.keep(minimal(f"A contract {new_id()}"))
    contract = ContractId(new_id())
    token = place.world.step_up(party.approver, "sign", str(base), f"{contract}/party-1")
    return SigningRequested(
        contract=contract,
        slot=Slot("party-1"),
        index=0,
        identity=bound.identity,
        credential=bound.credential,
        certificate=bound.certificate,
        base=base,
        shown=base,
        activation=Digest(await blobs.keep(token.encode())),
        level=BaselineLevel.LTA,
    )


async def _heard(place: House, name: str, after: int, **members: Any) -> None:
    """Until it is said at an offset above `after`; woken by commits, so that waiting adds little."""
    said = place.running.platform.outbox
    while True:
        for delivery in await said.read([topic.name for topic in TOPICS.values()], after, 1000):
            after = delivery.offset
            fact = delivery.event().fact
            if fact.name() == name and all(getattr(fact, key) == value for key, value in members.items()):
                return
        await said.news(0.05)


async def _end(place: House) -> int:
    """The last offset now."""
    async with place.running.platform.database.read() as conn:
        return int((await conn.execute(sa.select(sa.func.max(outbox.c.offset)))).scalar_one())


async def main(rounds: int) -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / "log").open("w") as log:
        log_to(log)
        async with house(Path(scratch)) as place:
            await one_round(place, 10_000)  # the first of everything is not counted
            found = [await one_round(place, index) for index in range(rounds)]
    columns = ("stage", "p50 ms", "p99 ms", "max ms")
    figures = {stage: sorted(one[stage] for one in found) for stage in STAGES}
    rows = [(stage, percentile(f, 0.5), percentile(f, 0.99), f[-1]) for stage, f in figures.items()]
    document = {
        "question": "identity locked -> next signature refused",
        "rounds": rounds,
        "unit": "ms since the lock",
        "stages": {
            stage: {"p50": percentile(f, 0.5), "p99": percentile(f, 0.99), "max": f[-1]} for stage, f in figures.items()
        },
    }
    publish("lock-to-refusal", f"identity locked -> next signature refused, {rounds} rounds", columns, rows, document)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
