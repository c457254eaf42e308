"""Facts of a contract's life, for tests of what is folded from them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from events.contract import ContractCompleted, ContractExpired, ContractSent, PartyConfirmed, Seat
from events.envelope import Event
from events.fact import Fact
from events.values import BaselineLevel, ContractId, Digest, EventId, IdentityId
from events.verification import SignatureVerified
from services.runtime.outbox import new_id

BEGAN = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def life(slots: tuple[str, ...] = ("first", "second"), *, completed: bool = True) -> list[Event[Fact]]:
    """A contract's facts in order, a second apart."""
    contract = ContractId(str(uuid.uuid4()))
    digest = Digest.of(contract.encode())
    identity = IdentityId("a" * 52)
    seats = tuple(Seat(slot=slot, identity=identity, order=n) for n, slot in enumerate(slots, 1))
    level = BaselineLevel.LTA
    facts: list[Fact] = [
        ContractSent(contract=contract, document=digest, pages=1, level=level, seats=seats, deadline=BEGAN)
    ]
    for n, slot in enumerate(slots, 1):
        facts.append(PartyConfirmed(contract=contract, slot=slot, identity=identity, shown=digest, activation=digest))
        facts.append(
            SignatureVerified(
                contract=contract, slot=slot, base=digest, signed=digest, report=digest, level=level, signatures=n
            )
        )
    if completed:
        facts.append(
            ContractCompleted(contract=contract, document=digest, signatures=len(slots), level=level, report=digest)
        )
    else:
        facts.append(ContractExpired(contract=contract, deadline=BEGAN))
    return [
        Event(EventId(new_id()), "/antin/contracts", BEGAN + timedelta(seconds=n), fact) for n, fact in enumerate(facts)
    ]
