"""What batches need to remember, within one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from events.values import ContractId, CredentialId, Digest
from services.signer.batch.model import Batch, DocumentState, Item, Outcome
from services.signer.ports import Credential


class Ledger(Protocol):
    """Batches and their documents."""

    async def open(self, batch: Batch, digests: Sequence[Digest]) -> Batch:
        """Redeem the activation for this batch; the same documents again find the batch that is there.

        Raises:
            Refused: the activation was redeemed for something else.
        """
        ...

    async def by_activation(self, jti: str) -> Batch | None:
        """The batch that this activation opened."""
        ...

    async def find(self, batch: ContractId) -> Batch | None:
        """A batch."""
        ...

    async def counts(self, batch: ContractId) -> dict[DocumentState, int]:
        """How many documents are in which state."""
        ...

    async def item(self, batch: ContractId, place: int) -> tuple[Batch, Item] | None:
        """One document and its batch."""
        ...

    async def items(self, batch: ContractId, after: int, most: int, state: DocumentState | None = None) -> list[Item]:
        """Documents behind a place, in order."""
        ...

    async def digests(self, batch: ContractId) -> list[Digest]:
        """Every document's digest, in order: the leaves of the tree."""
        ...

    async def arrived(self, batch: ContractId, place: int, size: int, now: datetime) -> Item | None:
        """The bytes of a document are kept; `size` in octets. None when it was not awaited any more."""
        ...

    async def claim(self, owner: str, now: datetime) -> list[tuple[Batch, Item]]:
        """Take some documents that nobody works on, of batches that are still alive; none when there are none."""
        ...

    async def hold(self, items: Sequence[Item], owner: str, until: datetime) -> None:
        """Keep those claims that are still ours."""
        ...

    async def settle(self, outcome: Outcome, owner: str) -> bool:
        """Write what came of a claim; false when it is no longer ours and nothing was written."""
        ...

    async def expire(self, now: datetime) -> None:
        """Refuse what is left of batches whose time is over."""
        ...

    async def credential(self, credential: CredentialId) -> Credential | None:
        """The credential as the bindings told."""
        ...


class Ledgers(Protocol):
    """Opens the ledger for one transaction."""

    def read(self) -> AbstractAsyncContextManager[Ledger]:
        """A consistent view; nothing can be changed through it."""
        ...

    def write(self) -> AbstractAsyncContextManager[Ledger]:
        """A write transaction; commits at the end of the block."""
        ...
