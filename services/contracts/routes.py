"""The public API of contracts: send, confirm, decline, withdraw, read, and take the evidence away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from domain.activation import TYPE, Activation
from events.contract import ContractFact, Placement
from events.errors import Refused
from events.fact import Moment
from events.values import Code, ContractId, CredentialId, Digest, IdentityId, Name, Slot
from services.contracts import handlers
from services.contracts.fields import FIELDS, SLOTS, PowerPurchaseNovation, Template
from services.contracts.model import Contract, Party, SlotState, State, Terms
from services.contracts.ports import Book, Ending, Heard, Intake, Maker, Record
from services.runtime.access import Public, Scope
from services.runtime.blobs import Blobs
from services.runtime.clock import Clock
from services.runtime.database import Tx
from services.runtime.jwks import Jwks
from services.runtime.outbox import new_id
from services.runtime.web import Call, Reply, Route

WRITE, READ = Scope("contracts:write"), Scope("contracts:read")
PARTY = Public("the party proves itself by the signed activation in the body")
TAG = "contracts"
SLACK = 64 * 1024
"""What a body may carry beside the document."""

N = TypeVar("N", bound=Name)


class View(Protocol):
    """Reads outside a write transaction."""

    async def load(self, contract: ContractId) -> Record:
        """The contract as it stands. Refused 404 when there is none."""
        ...

    async def listed(self, sender: str, state: State | None, after: ContractId | None, most: int) -> Sequence[Record]:
        """One sender's contracts, newest first."""
        ...

    async def history(self, contract: ContractId) -> Sequence[Heard]:
        """Every event of a contract's life."""
        ...


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
    terms: Terms = Terms()
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
    terms: Terms = Terms()
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
    state: State
    title: str
    reference: str
    document: Annotated[Digest, Field(description="The document as it was sent")]
    revision: Annotated[Digest, Field(description="The latest verified revision; at first the document")]
    pages: int
    terms: Terms
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
    contract_state: State
    slot: Slot
    state: SlotState
    shown: Digest | None = None
    confirmed_at: Moment | None = None


class Confirmation(_Strict):
    """A party approves exactly what it was shown."""

    activation: Annotated[str, Field(min_length=20, max_length=8192, description="Compact JWS, purpose sign")]
    shown: Annotated[Digest, Field(description="The digest of the PDF that the party was shown")]


class Refusal(_Strict):
    """A party says no. The words stay with the contract; only the code is told."""

    activation: Annotated[str, Field(min_length=20, max_length=8192, description="Compact JWS, purpose decline")]
    reason: Annotated[str, Field(max_length=1000, description="In the party's words; never leaves the contract")] = ""
    code: Code = Code("declined")


class Withdrawal(_Strict):
    """The sender takes the contract back."""

    reason: Annotated[str, Field(max_length=1000, description="In the sender's words; never told")] = ""
    code: Code = Code("withdrawn-by-sender")


class ContractQuery(_Strict):
    """Which contracts."""

    state: State | None = None
    after: ContractId | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class DocumentQuery(_Strict):
    """Which revision; the latest released one by default."""

    revision: Digest | None = None


class TemplateView(BaseModel):
    """A template and the JSON Schema (2020-12) of its fields."""

    name: Template
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
    events: Annotated[tuple[Heard, ...], Field(description="Said and heard, in order; data and their digests")]


Say = Callable[[Tx, Sequence[ContractFact]], Awaitable[None]]


@dataclass(frozen=True)
class Desk:
    """The routes' handlers over what the wiring gives them."""

    book: Callable[[Tx], Book]
    view: Callable[[], AbstractAsyncContextManager[View]]
    say: Say
    intake: Intake
    maker: Maker
    blobs: Blobs
    jwks: Jwks
    issuer: str
    clock: Clock
    limit: int
    longest: timedelta

    # --- the sender

    async def upload(self, call: Call) -> Contract:
        """Before the transaction: look at the PDF, check the request against it, and only then keep the bytes."""
        asked: ContractRequest = call.body
        self._deadline(asked.deadline)
        pdf = call.parts["document"]
        found = await self.intake.admit(pdf)
        parties = tuple(
            Party(slot=seat.slot, identity=seat.identity, order=seat.order, placement=seat.placement)
            for seat in asked.parties
        )
        contract = _contract(Digest.of(pdf), len(found.pages), parties, asked.terms, asked.deadline)
        handlers.check_placements(contract, found.pages)
        await self.blobs.keep(pdf)
        return contract

    async def fill_in(self, call: Call) -> Contract:
        """Before the transaction: make the document and keep it."""
        asked: NovationRequest = call.body
        template = Template.POWER_PURCHASE_NOVATION
        self._deadline(asked.deadline)
        if sorted(seat.slot for seat in asked.parties) != sorted(SLOTS[template]):
            raise Refused(
                "slots-of-template",
                found="other slots than the template has",
                expected=", ".join(SLOTS[template]),
                remedy="name each slot of the template once",
            )
        orders = sorted({seat.order for seat in asked.parties})
        together = [[seat.slot for seat in asked.parties if seat.order == order] for order in orders]
        made = await self.maker.make(template, asked.fields, asked.terms, together, self.clock.now())
        parties = tuple(
            Party(slot=seat.slot, identity=seat.identity, order=seat.order, placement=made.placements[seat.slot])
            for seat in asked.parties
        )
        found = await self.intake.admit(made.pdf)
        contract = _contract(Digest.of(made.pdf), len(found.pages), parties, asked.terms, asked.deadline)
        await self.blobs.keep(made.pdf)
        return contract

    async def create(self, call: Call) -> Reply:
        """Write the contract."""
        asked: ContractRequest | NovationRequest = call.body
        now = self.clock.now()
        record = Record(
            contract=call.prepared,
            sender=call.caller.name,
            title=asked.title,
            reference=asked.reference,
            created_at=now,
        )
        told = await handlers.draft(record, book=self.book(call.tx), now=now, send_now=asked.send)
        record = await self._said(call, told)
        return Reply(_view(record), 201, headers={"Location": f"/v1/contracts/{record.contract.id}"})

    async def send(self, call: Call) -> Reply:
        """Send a draft."""
        told = await handlers.send(_id(call), call.caller.name, book=self.book(call.tx), now=self.clock.now())
        return Reply(_view(await self._said(call, told)))

    async def withdraw(self, call: Call) -> Reply:
        """Take a contract back."""
        asked: Withdrawal = call.body
        told = await handlers.withdraw(
            _id(call),
            call.caller.name,
            Ending(code=asked.code, words=asked.reason),
            book=self.book(call.tx),
            now=self.clock.now(),
        )
        return Reply(_view(await self._said(call, told)))

    async def listed(self, call: Call) -> Reply:
        """One page of the caller's contracts."""
        query: ContractQuery = call.query
        async with self.view() as view:
            found = await view.listed(call.caller.name, query.state, query.after, query.limit + 1)
        page = found[: query.limit]
        rest = page[-1].contract.id if len(found) > query.limit else None
        return Reply(ContractList(contracts=tuple(_view(record) for record in page), next=rest))

    async def read(self, call: Call) -> Reply:
        """One contract."""
        return Reply(_view(await self._owned(call)))

    async def document(self, call: Call) -> Reply:
        """The PDF. A revision that was not verified, or was rejected, is never given out."""
        contract = (await self._owned(call)).contract
        query: DocumentQuery = call.query
        released = [contract.document, *_released(contract)]
        wanted = query.revision or contract.revision
        if wanted not in released:
            raise Refused(
                "unknown-revision",
                found="a digest that is no released revision of this contract",
                expected="the document or a verified revision",
                remedy="read the contract for its revisions",
                status=404,
            )
        headers = {
            "ETag": f'"{wanted}"',
            "Content-Disposition": f'attachment; filename="{contract.id}.pdf"',
        }
        return Reply(await self.blobs.fetch(wanted), media="application/pdf", headers=headers)

    async def evidence(self, call: Call) -> Reply:
        """The evidence package."""
        record = await self._owned(call)
        async with self.view() as view:
            events = await view.history(record.contract.id)
        made = EvidencePackage(
            made_at=self.clock.now(),
            contract=_view(record),
            revisions=tuple(_revisions(record.contract, events)),
            events=tuple(events),
        )
        return Reply(made)

    async def _owned(self, call: Call) -> Record:
        async with self.view() as view:
            record = await view.load(_id(call))
        if record.sender != call.caller.name:
            raise handlers.unknown_contract()
        return record

    # --- a party

    async def activation(self, call: Call) -> tuple[Activation, Digest]:
        """Before the transaction: the authority's signature on the activation; what it signed is kept as evidence."""
        asked: Confirmation | Refusal = call.body
        contract, slot = _id(call), _slot(call)
        async with self.view() as view:
            (await view.load(contract)).contract.party(slot)
        claims = await self.jwks.claims(asked.activation, typ=TYPE)
        return Activation.read(claims), await self.blobs.keep(asked.activation.encode())

    async def confirm(self, call: Call) -> Reply:
        """A party approves what it was shown."""
        asked: Confirmation = call.body
        activation, evidence = call.prepared
        told = await handlers.confirm(
            _id(call),
            _slot(call),
            asked.shown,
            activation,
            evidence,
            book=self.book(call.tx),
            issuer=self.issuer,
            now=self.clock.now(),
        )
        return Reply(_slot_view(await self._said(call, told), _slot(call)))

    async def decline(self, call: Call) -> Reply:
        """A party says no."""
        asked: Refusal = call.body
        activation, _ = call.prepared
        told = await handlers.decline(
            _id(call),
            _slot(call),
            activation,
            Ending(code=asked.code, words=asked.reason),
            book=self.book(call.tx),
            issuer=self.issuer,
            now=self.clock.now(),
        )
        return Reply(_slot_view(await self._said(call, told), _slot(call)))

    # --- templates

    async def templates(self, call: Call) -> Reply:
        """Every template with its fields."""
        return Reply(TemplateList(templates=tuple(_template(each) for each in Template)))

    async def template(self, call: Call) -> Reply:
        """One template with its fields."""
        try:
            return Reply(_template(Template(call.path["name"])))
        except ValueError:
            raise Refused(
                "unknown-template",
                found="no such template",
                expected=", ".join(Template),
                remedy="see GET /v1/templates",
                status=404,
            ) from None

    async def _said(self, call: Call, told: handlers.Told) -> Record:
        record, facts = told
        await self.say(call.tx, facts)
        return record

    def _deadline(self, deadline: datetime) -> None:
        now = self.clock.now()
        if not now < deadline <= now + self.longest:
            raise Refused(
                "deadline-invalid",
                found=f"a deadline of {deadline.isoformat()}",
                expected=f"one after now and within {self.longest.days} days",
                remedy="choose another deadline",
            )

    def routes(self) -> tuple[Route, ...]:
        """The table of operations."""
        one, slot = "/v1/contracts/{id}", "/v1/contracts/{id}/slots/{slot}"
        intake = ("not-a-pdf", "pdf-encrypted", "pdf-damaged", "pdf-truncated", "pdf-xfa", "pdf-no-pages")
        sending = ("party-without-certificate", "party-ended", "deadline-invalid", "deadline-passed")
        deciding = (
            "unknown-slot",
            "out-of-turn",
            "already-confirmed",
            "slot-already-signed",
            "signing-in-progress",
            "digest-not-shown",
            "party-held",
            "activation-used",
        )
        return (
            Route(
                "POST",
                "/v1/contracts",
                self.create,
                "Make a contract from a PDF",
                TAG,
                WRITE,
                ContractView,
                status=201,
                body=ContractRequest,
                body_part="contract",
                parts=("document",),
                writes=True,
                prepare=self.upload,
                limit=self.limit + SLACK,
                problems=(*intake, "placement-outside", *sending),
            ),
            Route(
                "POST",
                f"/v1/templates/{Template.POWER_PURCHASE_NOVATION.value}/contracts",
                self.create,
                "Make a change of parties of a power purchase agreement",
                TAG,
                WRITE,
                ContractView,
                status=201,
                body=NovationRequest,
                writes=True,
                prepare=self.fill_in,
                problems=("slots-of-template", "letter-not-printable", *sending),
            ),
            Route("GET", "/v1/templates", self.templates, "List the templates", TAG, READ, TemplateList),
            Route("GET", "/v1/templates/{name}", self.template, "Read a template's fields", TAG, READ, TemplateView),
            Route(
                "GET", "/v1/contracts", self.listed, "List your contracts", TAG, READ, ContractList, query=ContractQuery
            ),
            Route("GET", one, self.read, "Read a contract", TAG, READ, ContractView),
            Route(
                "GET",
                f"{one}/document",
                self.document,
                "Fetch the latest released revision",
                TAG,
                READ,
                "application/pdf",
                query=DocumentQuery,
            ),
            Route("GET", f"{one}/evidence", self.evidence, "Fetch the evidence package", TAG, READ, EvidencePackage),
            Route(
                "POST",
                f"{one}/send",
                self.send,
                "Send a draft to its parties",
                TAG,
                WRITE,
                ContractView,
                writes=True,
                problems=sending,
            ),
            Route(
                "POST",
                f"{one}/withdraw",
                self.withdraw,
                "Take a contract back",
                TAG,
                WRITE,
                ContractView,
                body=Withdrawal,
                writes=True,
                problems=("being-concluded",),
            ),
            Route(
                "POST",
                f"{slot}/confirm",
                self.confirm,
                "Approve what was shown, as a party",
                TAG,
                PARTY,
                SlotView,
                body=Confirmation,
                writes=True,
                prepare=self.activation,
                problems=(*deciding, "deadline-passed", "party-without-certificate"),
            ),
            Route(
                "POST",
                f"{slot}/decline",
                self.decline,
                "Decline, as a party",
                TAG,
                PARTY,
                SlotView,
                body=Refusal,
                writes=True,
                prepare=self.activation,
                problems=deciding,
            ),
        )


def _contract(document: Digest, pages: int, parties: tuple[Party, ...], terms: Terms, deadline: datetime) -> Contract:
    """A draft.

    Raises:
        Refused: two parties share a slot or an e-identity.
    """
    for what, taken in (
        ("slot", [party.slot for party in parties]),
        ("e-identity", [party.identity for party in parties]),
    ):
        if len(set(taken)) != len(taken):
            raise Refused(
                "party-twice",
                found=f"two parties with one {what}",
                expected="one slot for each e-identity, and one e-identity for each slot",
                remedy="name each party once",
            )
    return Contract(
        id=ContractId(new_id()), document=document, pages=pages, terms=terms, deadline=deadline, parties=parties
    )


def _id(call: Call) -> ContractId:
    return _named(ContractId, call.path["id"], "unknown-contract")


def _slot(call: Call) -> Slot:
    return _named(Slot, call.path["slot"], "unknown-slot")


def _named(kind: type[N], text: str, code: str) -> N:
    try:
        return kind(text)
    except ValueError:
        raise Refused(
            code, found="a name of another form", expected=kind.expected, remedy="check the address", status=404
        ) from None


def _view(record: Record) -> ContractView:
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
        parties=tuple(_party(party) for party in contract.parties),
        waiting_for=contract.waiting_for if contract.state is State.SENT else (),
        reason=contract.reason,
        words=record.words or None,
        created_at=record.created_at,
        sent_at=record.sent_at,
        ended_at=record.ended_at,
        version=record.version,
    )


def _party(party: Party) -> ContractParty:
    released = party.state is SlotState.VERIFIED
    told = party.model_dump(exclude={"activation", "base", "signed"} if not released else {"activation", "base"})
    return ContractParty.model_validate(told)


def _slot_view(record: Record, slot: Slot) -> SlotView:
    party = record.contract.party(slot)
    return SlotView(
        contract=record.contract.id,
        contract_state=record.contract.state,
        slot=slot,
        state=party.state,
        shown=party.shown,
        confirmed_at=party.confirmed_at,
    )


def _released(contract: Contract) -> list[Digest]:
    return [party.signed for party in contract.parties if party.state is SlotState.VERIFIED and party.signed]


def _revisions(contract: Contract, events: Sequence[Heard]) -> Sequence[EvidenceRevision]:
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


def _template(name: Template) -> TemplateView:
    return TemplateView(name=name, slots=SLOTS[name], fields=FIELDS[name].model_json_schema())
