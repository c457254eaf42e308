"""What the timeline asks of the place where its state is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.timeline.model import ContractLine, Count, IdentityLine


class Tables(Protocol):
    """The folded state, for reading."""

    async def contract(self, contract: str) -> ContractLine | None:
        """One contract."""
        ...

    async def contracts(self, after: str | None, state: str | None, most: int) -> Sequence[ContractLine]:
        """Contracts, newest first (ids are UUIDv7), `after` the last one seen."""
        ...

    async def changed(self, since: str, most: int) -> Sequence[ContractLine]:
        """Contracts that changed after the event `since`, oldest change first."""
        ...

    async def identity(self, identity: str) -> IdentityLine | None:
        """One identity's certificates."""
        ...

    async def counts(self) -> Mapping[tuple[str, str], Sequence[Count]]:
        """Counts by minute and family."""
        ...
