"""What the verifier's decisions need from the outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from events.values import ContractId, Digest, Slot
from services.verifier.model import Brought, FileReport, Judgement, MissingStatus
from services.verifier.pictures import Pictures


class Vault(Protocol):
    """Bytes by their digest."""

    async def fetch(self, digest: Digest) -> bytes:
        """The bytes. Unavailable when they are not there yet."""
        ...

    async def keep(self, data: bytes) -> Digest:
        """Keep bytes; the same bytes again are no harm."""
        ...


class Inspector(Protocol):
    """Judges a file from its bytes."""

    async def inspect(self, data: bytes, *, name: str, base_size: int | None) -> FileReport:
        """The report; never raises for what is in the file. Unavailable when no judge can be had at all."""
        ...


class Draughtsman(Protocol):
    """Draws a file's pages."""

    async def draw(self, data: bytes, ends: Sequence[int]) -> Pictures:
        """The pages, and what differs between the states that end there; never raises for what is in the file."""
        ...


class Press(Protocol):
    """Puts a report into the forms that leave the house."""

    @property
    def seals(self) -> bool:
        """Whether it can seal."""
        ...

    async def print(self, report: FileReport, *, sealed: bool = True) -> bytes:
        """A PDF. Refused when it is to be sealed and there is no seal; Unavailable when the seal gets no time."""
        ...

    async def xml(self, report: FileReport) -> bytes:
        """ETSI TS 119 102-2."""
        ...


class StatusFetcher(Protocol):
    """Fetches status data from a network; the judge itself has none."""

    async def fetch(self, needs: Sequence[MissingStatus]) -> Brought:
        """Whatever could be had; answers are checked by the judge, so unusable ones are no harm."""
        ...


class Register(Protocol):
    """Which revision was judged how."""

    async def write(
        self, contract: ContractId, slot: Slot, signed: Digest, report: Digest, verdict: str, at: datetime
    ) -> None:
        """Remember a judgement; the same again is no harm."""
        ...

    async def find(self, contract: ContractId, signed: Digest) -> Judgement | None:
        """The judgement of one revision; none when it was not judged."""
        ...


class Reader(Protocol):
    """Reads judgements outside a transaction."""

    async def find(self, contract: ContractId, signed: Digest) -> Judgement | None:
        """The judgement of one revision; none when it was not judged."""
        ...
