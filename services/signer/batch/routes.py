"""HTTP in for batches: open one with its approval, send its documents, follow it, fetch signatures and proofs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from events.errors import Refused
from events.values import BaselineLevel, ContractId, CredentialId, Digest
from services.runtime.access import Scope
from services.runtime.web import Call, Reply, Route
from services.signer.batch.handlers import Press
from services.signer.batch.model import MOST, Batch, DocumentState, Item

ACCESS = Scope("batches:write")
TAG = "batches"
DOCUMENT = 32 * 1024 * 1024
"""Octets of one document."""
PDF = "application/pdf"


class BatchRequest(BaseModel):
    """Documents by their digests, in the order of the Merkle tree (RFC 9162) whose root the activation approves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    credential: CredentialId
    level: BaselineLevel = BaselineLevel.LTA
    activation: Annotated[
        str,
        Field(
            max_length=16_384,
            description="compact JWS; purpose sign-documents, digest = the root, txn = <credential>/<count>",
        ),
    ]
    documents: Annotated[list[Digest], Field(min_length=1, max_length=MOST)]


class BatchView(BaseModel):
    """A batch and how far it is."""

    model_config = ConfigDict(frozen=True)

    batch: ContractId
    credential: CredentialId
    root: Digest
    count: int
    level: BaselineLevel
    opened_at: datetime
    documents: Annotated[dict[DocumentState, int], Field(description="how many are in which state")]


class DocumentView(BaseModel):
    """One document of a batch."""

    model_config = ConfigDict(frozen=True)

    place: int
    digest: Digest
    state: DocumentState
    signed: Digest | None = None
    reason: str | None = None


class DocumentPage(BaseModel):
    """Some documents; `next` is the `after` of the following page."""

    model_config = ConfigDict(frozen=True)

    documents: list[DocumentView]
    next: int | None = None


class Proof(BaseModel):
    """That a document is among those approved: RFC 9162 clause 2.1.3, with the activation that approved the root."""

    model_config = ConfigDict(frozen=True)

    batch: ContractId
    place: int
    count: int
    digest: Digest
    size: Annotated[int | None, Field(description="octets of the document; the signed file begins with them")] = None
    path: list[Digest]
    root: Digest
    activation: Annotated[str, Field(description="compact JWS of the e-identity authority over the root")]
    signed: Digest | None = None


class PageQuery(BaseModel):
    """Which documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: Annotated[int, Field(ge=-1)] = -1
    state: DocumentState | None = None


def routes(press: Press) -> list[Route]:
    """The operations."""

    async def open_batch(call: Call) -> Reply:
        asked: BatchRequest = call.body
        found = await press.open(call.caller.name, asked.credential, asked.activation, asked.level, asked.documents)
        _, counts = await press.batch(call.caller.name, found.id)
        return Reply(_view(found, counts), 201)

    async def show(call: Call) -> Reply:
        return Reply(_view(*await press.batch(call.caller.name, _batch(call))))

    async def take(call: Call) -> Reply:
        item = await press.take(call.caller.name, _batch(call), _place(call), call.raw)
        return Reply(_document(item), 202)

    async def page(call: Call) -> Reply:
        asked: PageQuery = call.query
        found = await press.items(call.caller.name, _batch(call), asked.after, 501, asked.state)
        following = found[499].place if len(found) > 500 else None
        return Reply(DocumentPage(documents=[_document(one) for one in found[:500]], next=following))

    async def prove(call: Call) -> Reply:
        batch, item = await press.item(call.caller.name, _batch(call), _place(call))
        proof = await press.proof(batch, item.place)
        activation = await press.vault.fetch(batch.activation)
        return Reply(
            Proof(
                batch=batch.id,
                place=item.place,
                count=proof.count,
                digest=item.digest,
                size=item.size,
                path=list(proof.path),
                root=batch.root,
                activation=activation.decode(),
                signed=item.signed,
            )
        )

    async def fetch(call: Call) -> Reply:
        _, item = await press.item(call.caller.name, _batch(call), _place(call))
        if item.signed is None:
            raise Refused(
                "not-signed",
                found=f"a document that is {item.state.value}",
                expected="one that is signed",
                remedy="wait for it, or see its reason",
                status=409,
            )
        return Reply(await press.vault.fetch(item.signed), media=PDF)

    one, document = "/v1/batches/{id}", "/v1/batches/{id}/documents/{place}"
    return [
        Route(
            "POST",
            "/v1/batches",
            open_batch,
            "Open a batch with one approval",
            TAG,
            ACCESS,
            BatchView,
            status=201,
            body=BatchRequest,
            limit=2 * 1024 * 1024,
            description="The same call again finds the batch that is there, so a caller that crashed goes on.",
            problems=("activation-spent", "credential-unknown"),
        ),
        Route("GET", one, show, "How far a batch is", TAG, ACCESS, BatchView, problems=("batch-unknown",)),
        Route(
            "GET",
            f"{one}/documents",
            page,
            "The documents of a batch",
            TAG,
            ACCESS,
            DocumentPage,
            query=PageQuery,
            problems=("batch-unknown",),
        ),
        Route(
            "PUT",
            document,
            take,
            "Send a document",
            TAG,
            ACCESS,
            DocumentView,
            status=202,
            raw=(PDF,),
            limit=DOCUMENT,
            description="Only the bytes that were approved are taken; sending them again changes nothing.",
            problems=("not-what-was-approved", "document-unknown"),
        ),
        Route("GET", f"{document}/proof", prove, "Its proof", TAG, ACCESS, Proof, problems=("document-unknown",)),
        Route("GET", f"{document}/signed", fetch, "The signed PDF", TAG, ACCESS, PDF, problems=("not-signed",)),
    ]


def _batch(call: Call) -> ContractId:
    try:
        return ContractId(call.path["id"])
    except ValueError as fault:
        raise _nothing("batch") from fault


def _place(call: Call) -> int:
    text = call.path["place"]
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise _nothing("document")
    return int(text)


def _nothing(what: str) -> Refused:
    return Refused(
        f"{what}-unknown", found=f"no such {what}", expected="an id given out here", remedy="check it", status=404
    )


def _view(batch: Batch, counts: dict[DocumentState, int]) -> BatchView:
    return BatchView(
        batch=batch.id,
        credential=batch.credential,
        root=batch.root,
        count=batch.count,
        level=batch.level,
        opened_at=batch.opened_at,
        documents=counts,
    )


def _document(item: Item) -> DocumentView:
    return DocumentView(place=item.place, digest=item.digest, state=item.state, signed=item.signed, reason=item.reason)
