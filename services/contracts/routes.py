"""The public API of contracts: send, confirm, decline, withdraw, read, and take the evidence away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from domain.activation import TYPE, Activation
from events.contract import ContractFact
from events.errors import Refused
from events.values import Code, ContractId, Digest, Name, Slot
from services.contracts import handlers
from services.contracts.aggregate import Contract, Party, SigningTerms
from services.contracts.fields import SLOTS, TemplateName
from services.contracts.lifecycle import ContractState
from services.contracts.ports import Book, Ending, EvidenceEvent, Intake, Maker, Record, Standings
from services.contracts.shapes import (
    ConfirmRequest,
    ContractList,
    ContractQuery,
    ContractRequest,
    ContractView,
    DeclineRequest,
    DocumentQuery,
    EvidencePackage,
    NovationRequest,
    SlotView,
    TemplateList,
    TemplateView,
    WithdrawRequest,
    contract_view,
    released,
    revisions_of,
    slot_view,
    template_view,
)
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


class View(Standings, Protocol):
    """Reads outside a write transaction."""

    async def load(self, contract: ContractId) -> Record:
        """The contract as it stands. Refused 404 when there is none."""
        ...

    async def listed(
        self, sender: str, state: ContractState | None, after: ContractId | None, most: int
    ) -> Sequence[Record]:
        """One sender's contracts, newest first."""
        ...

    async def history(self, contract: ContractId) -> Sequence[EvidenceEvent]:
        """Every event of a contract's life."""
        ...


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
        await self._keep(pdf, contract, asked.send)
        return contract

    async def fill_in(self, call: Call) -> Contract:
        """Before the transaction: make the document and keep it."""
        asked: NovationRequest = call.body
        template = TemplateName.POWER_PURCHASE_NOVATION
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
        await self._keep(made.pdf, contract, asked.send)
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
        return Reply(contract_view(record), 201, headers={"Location": f"/v1/contracts/{record.contract.id}"})

    async def send(self, call: Call) -> Reply:
        """Send a draft."""
        told = await handlers.send(_id(call), call.caller.name, book=self.book(call.tx), now=self.clock.now())
        return Reply(contract_view(await self._said(call, told)))

    async def withdraw(self, call: Call) -> Reply:
        """Take a contract back."""
        asked: WithdrawRequest = call.body
        told = await handlers.withdraw(
            _id(call),
            call.caller.name,
            Ending(code=Code(asked.code), words=asked.reason),
            book=self.book(call.tx),
            now=self.clock.now(),
        )
        return Reply(contract_view(await self._said(call, told)))

    async def listed(self, call: Call) -> Reply:
        """One page of the caller's contracts."""
        query: ContractQuery = call.query
        state = ContractState(query.state) if query.state is not None else None
        async with self.view() as view:
            found = await view.listed(call.caller.name, state, query.after, query.limit + 1)
        page = found[: query.limit]
        rest = page[-1].contract.id if len(found) > query.limit else None
        return Reply(ContractList(contracts=tuple(contract_view(record) for record in page), next=rest))

    async def read(self, call: Call) -> Reply:
        """One contract."""
        return Reply(contract_view(await self._owned(call)))

    async def document(self, call: Call) -> Reply:
        """The PDF. A revision that was not verified, or was rejected, is never given out."""
        contract = (await self._owned(call)).contract
        query: DocumentQuery = call.query
        given_out = [contract.document, *released(contract)]
        wanted = query.revision or contract.revision
        if wanted not in given_out:
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
            contract=contract_view(record),
            revisions=tuple(revisions_of(record.contract, events)),
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
        asked: ConfirmRequest | DeclineRequest = call.body
        contract, slot = _id(call), _slot(call)
        async with self.view() as view:
            (await view.load(contract)).contract.party(slot)
        claims = await self.jwks.claims(asked.activation, typ=TYPE)
        return Activation.read(claims), await self.blobs.keep(asked.activation.encode())

    async def confirm(self, call: Call) -> Reply:
        """A party approves what it was shown."""
        asked: ConfirmRequest = call.body
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
        return Reply(slot_view(await self._said(call, told), _slot(call)))

    async def decline(self, call: Call) -> Reply:
        """A party says no."""
        asked: DeclineRequest = call.body
        activation, _ = call.prepared
        told = await handlers.decline(
            _id(call),
            _slot(call),
            activation,
            Ending(code=Code(asked.code), words=asked.reason),
            book=self.book(call.tx),
            issuer=self.issuer,
            now=self.clock.now(),
        )
        return Reply(slot_view(await self._said(call, told), _slot(call)))

    # --- templates

    async def templates(self, call: Call) -> Reply:
        """Every template with its fields."""
        return Reply(TemplateList(templates=tuple(template_view(each) for each in TemplateName)))

    async def template(self, call: Call) -> Reply:
        """One template with its fields."""
        try:
            return Reply(template_view(TemplateName(call.path["name"])))
        except ValueError:
            raise Refused(
                "unknown-template",
                found="no such template",
                expected=", ".join(TemplateName),
                remedy="see GET /v1/templates",
                status=404,
            ) from None

    async def _said(self, call: Call, told: handlers.Told) -> Record:
        record, facts = told
        await self.say(call.tx, facts)
        return record

    async def _keep(self, pdf: bytes, contract: Contract, sending: bool) -> None:
        """Keep the bytes of what will not be refused for its parties; what is refused leaves nothing behind."""
        if sending:
            async with self.view() as view:
                await handlers.check_parties(contract, standings=view, now=self.clock.now())
        await self.blobs.keep(pdf)

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
                intake=True,
                problems=(*intake, "placement-outside", *sending),
            ),
            Route(
                "POST",
                f"/v1/templates/{TemplateName.POWER_PURCHASE_NOVATION.value}/contracts",
                self.create,
                "Make a change of parties of a power purchase agreement",
                TAG,
                WRITE,
                ContractView,
                status=201,
                body=NovationRequest,
                writes=True,
                prepare=self.fill_in,
                intake=True,
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
                body=WithdrawRequest,
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
                body=ConfirmRequest,
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
                body=DeclineRequest,
                writes=True,
                prepare=self.activation,
                problems=deciding,
            ),
        )


def _contract(
    document: Digest, pages: int, parties: tuple[Party, ...], terms: SigningTerms, deadline: datetime
) -> Contract:
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
