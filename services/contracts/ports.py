"""What the contracts need from outside: somebody who reads uploads, somebody who makes documents, a memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

from pydantic import Field

from events.contract import Placement
from events.fact import Moment, Value
from events.values import Code, ContractId, Digest, IdentityId, Slot, Uuid
from services.contracts.aggregate import Contract, SigningTerms
from services.contracts.fields import Form, TemplateName
from services.contracts.standing import Binding, Holder


class Limits(Value):
    """How much a document may ask of us."""

    octets: Annotated[int, Field(ge=1024, description="Size of the file")] = 32 * 1024 * 1024
    pages: Annotated[int, Field(ge=1)] = 2000
    objects: Annotated[int, Field(ge=100, description="Objects in the file, all revisions together")] = 500_000
    seconds: Annotated[float, Field(gt=0, description="Processor time for reading it")] = 10.0
    memory: Annotated[int, Field(ge=64 * 1024 * 1024, description="Octets of address space for reading it")] = 1 << 30
    signed_before: Annotated[bool, Field(description="Whether a file that carries signatures may come in")] = False


class Sheet(Value):
    """One page as it is displayed, in points (1/72 inch)."""

    width: Annotated[float, Field(gt=0)]
    height: Annotated[float, Field(gt=0)]
    rotation: Annotated[int, Field(description="Degrees clockwise: 0, 90, 180 or 270")] = 0


class Admitted(Value):
    """What was found in a PDF that may become a contract."""

    pages: Annotated[tuple[Sheet, ...], Field(min_length=1)]
    revisions: Annotated[int, Field(ge=1)]
    form: Annotated[bool, Field(description="Whether it carries form fields")] = False
    signatures: Annotated[int, Field(ge=0)] = 0


class Intake(Protocol):
    """Looks at an upload before anything is stored."""

    async def admit(self, pdf: bytes) -> Admitted:
        """What is in the PDF.

        Raises:
            Refused: it is not a PDF that can be shown, signed and verified; the code says why.
            Unavailable: it cannot be looked at just now.
        """
        ...


class Made(Value):
    """A document made from a template, and where its signatures go."""

    pdf: bytes
    placements: dict[Slot, Placement]


class Maker(Protocol):
    """Makes documents from templates."""

    async def make(
        self, template: TemplateName, fields: Form, terms: SigningTerms, order: Sequence[Sequence[Slot]], now: datetime
    ) -> Made:
        """The document and where its signature areas are.

        Raises:
            Refused: something in the fields cannot be printed.
        """
        ...


class Record(Value):
    """A contract with what its sender keeps beside it. `version` counts its changes."""

    contract: Contract
    sender: str
    title: str = ""
    reference: str = ""
    words: Annotated[str, Field(description="What was said at the end by who declined or withdrew; never told")] = ""
    created_at: Moment
    sent_at: Moment | None = None
    ended_at: Moment | None = None
    version: Annotated[int, Field(ge=0)] = 0


class Standings(Protocol):
    """Knows how e-identities and their certificates stand."""

    async def holder(self, identity: IdentityId) -> Holder | None:
        """What was told of an e-identity."""
        ...

    async def bindings(self, identity: IdentityId) -> Sequence[Binding]:
        """Every certificate that was ever bound to an e-identity, in the order it was bound."""
        ...


class Book(Standings, Protocol):
    """The memory of this service within one transaction."""

    async def add(self, record: Record) -> None:
        """Write a new contract."""
        ...

    async def load(self, contract: ContractId) -> Record:
        """The contract as it stands.

        Raises:
            Refused: 404, there is none.
        """
        ...

    async def save(self, record: Record) -> None:
        """Write a changed contract.

        Raises:
            Unavailable: somebody else changed it meanwhile.
        """
        ...

    async def open_with(self, identity: IdentityId) -> Sequence[Record]:
        """Every contract that has not ended and in which this e-identity holds a slot."""
        ...

    async def keep_holder(self, holder: Holder) -> None:
        """Write what was told of an e-identity."""
        ...

    async def keep_binding(self, binding: Binding) -> None:
        """Write how a certificate stands."""
        ...

    async def redeem(self, jti: Uuid, contract: ContractId, slot: Slot) -> bool:
        """Use an activation; false when it was used before."""
        ...


class EvidenceEvent(Value):
    """One event in the life of a contract, said here or heard from others."""

    id: Uuid
    type: str
    time: Moment
    source: str
    digest: Annotated[Digest, Field(description="SHA-256 of the data as RFC 8785 JSON")]
    data: dict[str, object]


class Ending(Value):
    """Why somebody ends a contract: a code that is told, and words that are not."""

    code: Code
    words: str = ""
