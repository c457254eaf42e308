"""What a contract is: its document, its parties and where each stands; frozen, and changed only by `model.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from events.contract import Placement, Seat
from events.errors import Refused
from events.fact import Moment, Value
from events.values import BaselineLevel, Code, ContractId, CredentialId, Digest, IdentityId, Slot
from services.contracts.lifecycle import ContractState, SlotState


class SigningTerms(Value):
    """What the parties agreed on about signing itself (Law 20/2023/QH15 Art 36)."""

    format: Literal["PAdES"] = "PAdES"
    level: BaselineLevel = BaselineLevel.LTA
    notices: Annotated[
        Literal["data-message", "mail", "webhook"], Field(description="Channel of notices, Law 20/2023/QH15 Art 37")
    ] = "data-message"


class Party(Seat):
    """One party's place and where it stands."""

    placement: Placement | None = None
    state: SlotState = SlotState.WAITING
    held: Annotated[tuple[Code, ...], Field(description="Why the party cannot sign just now; empty: it can")] = ()
    shown: Digest | None = None
    activation: Digest | None = None
    confirmed_at: Moment | None = None
    credential: CredentialId | None = None
    certificate: Digest | None = None
    base: Digest | None = None
    signed: Digest | None = None
    report: Digest | None = None
    reason: Code | None = None


class Contract(Value):
    """One contract: its document, its parties in the order they were named, and where it stands."""

    id: ContractId
    document: Digest
    pages: Annotated[int, Field(ge=1)]
    terms: SigningTerms = SigningTerms()
    deadline: Moment
    parties: Annotated[tuple[Party, ...], Field(min_length=1, max_length=100)]
    state: ContractState = ContractState.DRAFT
    latest: Annotated[Digest | None, Field(description="The latest verified revision; none before the first")] = None
    reason: Code | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Contract:
        if len({party.slot for party in self.parties}) != len(self.parties):
            raise ValueError("two parties share a slot; expected one slot for each party")
        if len({party.identity for party in self.parties}) != len(self.parties):
            raise ValueError("one e-identity holds two slots; expected one slot for each e-identity")
        return self

    @property
    def revision(self) -> Digest:
        """What the next signature is made on: the latest verified revision, at first the document."""
        return self.latest or self.document

    @property
    def outstanding(self) -> Party | None:
        """The one party whose signature was ordered and has not been judged."""
        return next((party for party in self.parties if party.state.outstanding), None)

    @property
    def waiting_for(self) -> tuple[Slot, ...]:
        """Whose confirmation is awaited now."""
        return tuple(party.slot for party in self.parties if party.state is SlotState.INVITED)

    def party(self, slot: Slot) -> Party:
        """The party of a slot.

        Raises:
            Refused: the contract has no such slot.
        """
        for party in self.parties:
            if party.slot == slot:
                return party
        raise Refused(
            "unknown-slot",
            found=f"the slot {slot}",
            expected=f"one of {', '.join(party.slot for party in self.parties)}",
            remedy="name a slot of this contract",
            status=404,
        )

    def of(self, identity: IdentityId) -> Party | None:
        """The party that this e-identity is, if it is one."""
        return next((party for party in self.parties if party.identity == identity), None)


class Approval(Value):
    """What a party approved, already checked: by whom, what it saw, with which credential it will sign."""

    identity: IdentityId
    shown: Digest
    activation: Digest
    credential: CredentialId
    certificate: Digest
