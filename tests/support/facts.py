"""Facts to say in tests: one of each kind, and many of one kind."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from events.contract import ContractCompleted, ContractExpired, ContractWithdrawn
from events.values import BaselineLevel, Code, ContractId, Digest

NOON = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)


def contract_id(number: int) -> ContractId:
    """A contract by its number."""
    return ContractId(str(UUID(int=number)))


def withdrawn(number: int, reason: str = "sent-by-mistake") -> ContractWithdrawn:
    """A small fact of contract `number`."""
    return ContractWithdrawn(contract=contract_id(number), reason=Code(reason))


def expired(number: int) -> ContractExpired:
    """Another small fact."""
    return ContractExpired(contract=contract_id(number), deadline=NOON)


def completed(number: int) -> ContractCompleted:
    """A fact that carries digests."""
    return ContractCompleted(
        contract=contract_id(number),
        document=Digest.of(b"signed"),
        signatures=3,
        level=BaselineLevel.LTA,
        report=Digest.of(b"report"),
    )
