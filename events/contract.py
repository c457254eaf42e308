"""Facts of the contract family: who must sign what, in which order, until when.

Said by `contracts`, keyed by the contract. Sources: Law 20/2023/QH15 Art 22 (approval bound to the content), 34-38.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from events.fact import Fact, Moment, Value
from events.values import BaselineLevel, Code, ContractId, CredentialId, Digest, IdentityId, Slot


class Placement(Value):
    """Where a visible signature goes: points from the lower left corner of the page as it is displayed."""

    page: Annotated[int, Field(ge=1, description="1 is the first page")]
    x: Annotated[float, Field(ge=0)]
    y: Annotated[float, Field(ge=0)]
    width: Annotated[float, Field(gt=0)]
    height: Annotated[float, Field(gt=0)]


class Seat(Value):
    """One party's place in a contract. Parties of equal `order` may sign in parallel."""

    slot: Slot
    identity: IdentityId
    order: Annotated[int, Field(ge=1, le=100)]


class ContractFact(Fact):
    """A fact about one contract."""

    family: ClassVar[str] = "contract"
    ordered_by: ClassVar[str] = "contract"

    contract: ContractId


class ContractSent(ContractFact):
    """The contract went out to its parties; its text no longer changes."""

    document: Digest
    pages: Annotated[int, Field(ge=1)]
    level: BaselineLevel
    seats: Annotated[tuple[Seat, ...], Field(min_length=1, max_length=100)]
    deadline: Moment


class PartyConfirmed(ContractFact):
    """A party saw the document and approved it; the activation is bound to the digest shown."""

    slot: Slot
    identity: IdentityId
    shown: Digest
    activation: Annotated[Digest, Field(description="Blob: the authority's signed activation")]


class SigningRequested(ContractFact):
    """It is this slot's turn: sign `base` with this credential, as this activation allows."""

    slot: Slot
    index: Annotated[int, Field(ge=0, description="The slot's place among all, for the default position of its stamp")]
    identity: IdentityId
    credential: CredentialId
    certificate: Digest
    base: Annotated[Digest, Field(description="The revision to sign")]
    shown: Annotated[Digest, Field(description="The revision the party saw: `base` or an earlier one it begins with")]
    activation: Digest
    level: BaselineLevel
    placement: Placement | None = None


class PartyDeclined(ContractFact):
    """A party will not sign. Its words stay with the contract; the code is told."""

    slot: Slot
    identity: IdentityId
    reason: Code


class ContractWithdrawn(ContractFact):
    """The sender took the contract back before it was complete."""

    reason: Code


class ContractExpired(ContractFact):
    """The deadline passed before everybody had signed."""

    deadline: Moment


class ContractVoided(ContractFact):
    """A party can no longer sign: its e-identity ended, its certificate was revoked, or its signature was rejected."""

    slot: Slot
    reason: Code


class ContractCompleted(ContractFact):
    """Every slot holds a verified signature."""

    document: Digest
    signatures: Annotated[int, Field(ge=1)]
    level: BaselineLevel
    report: Annotated[Digest, Field(description="Blob: the verification report of the final file")]
