"""What the API takes and gives, and how a contract is shown in it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from events.contract import Placement
from events.fact import Moment
from events.values import Code, ContractId, CredentialId, Digest, IdentityId, Slot
from services.contracts.aggregate import Contract, Party, SigningTerms
from services.contracts.fields import FIELDS, SLOTS, PowerPurchaseNovation, TemplateName
from services.contracts.lifecycle import ContractState, SlotState
from services.contracts.ports import EvidenceEvent, Record


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ContractSeat(_Strict):
    """Who holds a slot. Parties of equal `order` may sign in parallel; lower orders sign first."""

    slot: Slot
    identity: IdentityId
    order: Annotated[int, Field(ge=1, le=100)] = 1
    placement: Annotated[
        Placement | None, Field(description="Where the visible signature goes; a free place is found without it")
    ] = None


class ContractRequest(_Strict):
    """A contract to be made from the PDF in the part `document`."""

    title: Annotated[str, Field(max_length=200)] = ""
    reference: Annotated[str, Field(max_length=100, description="Your own; never told to others")] = ""
    parties: Annotated[tuple[ContractSeat, ...], Field(min_length=1, max_length=100)]
    deadline: Moment
    terms: SigningTerms = SigningTerms()
    send: Annotated[bool, Field(description="Send it at once; else it stays a draft")] = False


class TemplateSeat(_Strict):
    """Who holds a slot of the template."""

    slot: Slot
    identity: IdentityId
    order: Annotated[int, Field(ge=1, le=100)] = 1


class NovationRequest(_Strict):
    """A change of parties of a power purchase agreement; slots: outgoing-buyer, incoming-buyer, supplier."""

    title: Annotated[str, Field(max_length=200)] = ""
    reference: Annotated[str, Field(max_length=100, description="Your own; never told to others")] = ""
    fields: PowerPurchaseNovation
    parties: Annotated[tuple[TemplateSeat, ...], Field(min_length=3, max_length=3)]
    deadline: Moment
    terms: SigningTerms = SigningTerms()
    send: bool = False


class ContractParty(BaseModel):
    """One party and where it stands."""

    slot: Slot
    identity: IdentityId
    order: int
    state: SlotState
    held: tuple[Code, ...] = ()
    placement: Placement | None = None
    shown: Digest | None = None
    confirmed_at: Moment | None = None
    credential: CredentialId | None = None
    certificate: Digest | None = None
    signed: Digest | None = None
    report: Digest | None = None
    reason: Code | None = None


class ContractView(BaseModel):
    """A contract as its sender sees it."""

    id: ContractId
    state: ContractState
    title: str
    reference: str
    document: Annotated[Digest, Field(description="The document as it was sent")]
    revision: Annotated[Digest, Field(description="The latest verified revision; at first the document")]
    pages: int
    terms: SigningTerms
    deadline: Moment
    parties: tuple[ContractParty, ...]
    waiting_for: Annotated[tuple[Slot, ...], Field(description="Whose confirmation is awaited now")]
    reason: Code | None = None
    words: Annotated[str | None, Field(description="What was said at the end by who declined or withdrew")] = None
    created_at: Moment
    sent_at: Moment | None = None
    ended_at: Moment | None = None
    version: int


class ContractList(BaseModel):
    """One page of contracts."""

    contracts: tuple[ContractView, ...]
    next: Annotated[ContractId | None, Field(description="Give it as `after` to read on")] = None


class SlotView(BaseModel):
    """What a party learns about its own slot."""

    contract: ContractId
    contract_state: ContractState
    slot: Slot
    state: SlotState
    shown: Digest | None = None
    confirmed_at: Moment | None = None


class ConfirmRequest(_Strict):
    """A party approves exactly what it was shown."""

    activation: Annotated[str, Field(min_length=20, max_length=8192, description="Compact JWS, purpose sign")]
    shown: Annotated[Digest, Field(description="The digest of the PDF that the party was shown")]


class DeclineCode(StrEnum):
    """Why a party declines, as others may know it: a closed list, so that no name or number can be told in it."""

    DECLINED = "declined"
    TERMS = "terms-not-agreed"
    PRICE = "price-not-agreed"
    DATA = "data-wrong"
    PARTY = "wrong-party"


class WithdrawalCode(StrEnum):
    """Why a sender withdraws, as others may know it."""

    BY_SENDER = "withdrawn-by-sender"
    MISTAKE = "sent-by-mistake"
    REPLACED = "replaced-by-another"


class DeclineRequest(_Strict):
    """A party says no. The words stay with the contract; only the code is told."""

    activation: Annotated[str, Field(min_length=20, max_length=8192, description="Compact JWS, purpose decline")]
    reason: Annotated[str, Field(max_length=1000, description="In the party's words; never leaves the contract")] = ""
    code: Annotated[DeclineCode, Field(description="This one is told")] = DeclineCode.DECLINED


class WithdrawRequest(_Strict):
    """The sender takes the contract back."""

    reason: Annotated[str, Field(max_length=1000, description="In the sender's words; never told")] = ""
    code: Annotated[WithdrawalCode, Field(description="This one is told")] = WithdrawalCode.BY_SENDER


class ContractQuery(_Strict):
    """Which contracts."""

    state: Literal["draft", "sent", "completed", "declined", "withdrawn", "expired", "voided"] | None = None
    after: ContractId | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class DocumentQuery(_Strict):
    """Which revision; the latest released one by default."""

    revision: Digest | None = None


class TemplateView(BaseModel):
    """A template and the JSON Schema (2020-12) of its fields."""

    name: TemplateName
    slots: tuple[Slot, ...]
    fields: dict[str, Any]


class TemplateList(BaseModel):
    """The templates."""

    templates: tuple[TemplateView, ...]


class EvidenceRevision(BaseModel):
    """One released revision: who signed it, what was checked before, what was found after."""

    revision: Digest
    slot: Slot
    base: Digest
    certificate: Digest
    shown: Digest
    activation: Digest
    presign_check: Digest | None = None
    report: Digest
    signed_at: Moment | None = None


class EvidencePackage(BaseModel):
    """Everything that shows how a contract came about (Law 20/2023/QH15 Art 11, 13). Parties by pseudonym."""

    format: Literal["antin-evidence-1"] = "antin-evidence-1"
    made_at: Moment
    contract: ContractView
    revisions: tuple[EvidenceRevision, ...]
    events: Annotated[tuple[EvidenceEvent, ...], Field(description="Said and heard, in order; data and their digests")]


def contract_view(record: Record) -> ContractView:
    """A contract as its sender sees it."""
    contract = record.contract
    return ContractView(
        id=contract.id,
        state=contract.state,
        title=record.title,
        reference=record.reference,
        document=contract.document,
        revision=contract.revision,
        pages=contract.pages,
        terms=contract.terms,
        deadline=contract.deadline,
        parties=tuple(party_view(party) for party in contract.parties),
        waiting_for=contract.waiting_for if contract.state is ContractState.SENT else (),
        reason=contract.reason,
        words=record.words or None,
        created_at=record.created_at,
        sent_at=record.sent_at,
        ended_at=record.ended_at,
        version=record.version,
    )


def party_view(party: Party) -> ContractParty:
    """A party; a file that was not verified is not named."""
    released = party.state is SlotState.VERIFIED
    told = party.model_dump(exclude={"activation", "base", "signed"} if not released else {"activation", "base"})
    return ContractParty.model_validate(told)


def slot_view(record: Record, slot: Slot) -> SlotView:
    """A party's own slot."""
    party = record.contract.party(slot)
    return SlotView(
        contract=record.contract.id,
        contract_state=record.contract.state,
        slot=slot,
        state=party.state,
        shown=party.shown,
        confirmed_at=party.confirmed_at,
    )


def released(contract: Contract) -> list[Digest]:
    """The verified revisions."""
    return [party.signed for party in contract.parties if party.state is SlotState.VERIFIED and party.signed]


def revisions_of(contract: Contract, events: Sequence[EvidenceEvent]) -> Sequence[EvidenceRevision]:
    """The released revisions in the order in which each was made upon the other."""
    claims = {heard.data.get("signed"): heard.data for heard in events if ".DocumentSigned." in heard.type}
    left = {party.base: party for party in contract.parties if party.state is SlotState.VERIFIED}
    found: list[EvidenceRevision] = []
    base: Digest | None = contract.document
    while base is not None and (party := left.pop(base, None)) is not None:
        claim = claims.get(party.signed, {})
        found.append(
            EvidenceRevision.model_validate(
                {
                    "revision": party.signed,
                    "slot": party.slot,
                    "base": party.base,
                    "certificate": party.certificate,
                    "shown": party.shown,
                    "activation": party.activation,
                    "presign_check": claim.get("checked"),
                    "report": party.report,
                    "signed_at": claim.get("signed_at"),
                }
            )
        )
        base = party.signed
    return found


def template_view(name: TemplateName) -> TemplateView:
    """A template and its fields."""
    return TemplateView(name=name, slots=SLOTS[name], fields=FIELDS[name].model_json_schema())
