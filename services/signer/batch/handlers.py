"""Opens batches, takes their documents and signs each once, whatever crashes; every signature has its proof."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from domain.activation import Purpose
from domain.merkle import Inclusion, Tree
from events.errors import Refused, Unavailable
from events.values import BaselineLevel, ContractId, CredentialId, Digest
from services.runtime.clock import Clock
from services.runtime.lease import LEASE, renewed
from services.runtime.outbox import new_id
from services.signer.approval import approved, in_good_standing
from services.signer.batch.model import PATIENCE, PAUSE, Batch, DocumentState, Item, Outcome, field_of, slot_of
from services.signer.batch.ports import Ledger, Ledgers
from services.signer.handlers import bound_chain
from services.signer.model import Redemption, SigningOrder, artefact_name
from services.signer.ports import Approvals, Credential, PadesWriter, StatusSource, Vault

log = structlog.get_logger()
TREES = 4
LANES = 2
"""Steps at once in one process: while one waits for the disk, another signs."""
POLL = 2.0
"""Seconds between two looks for documents that another process took in."""


@dataclass(frozen=True)
class Press:
    """Everything a batch needs."""

    ledgers: Ledgers
    approvals: Approvals
    status: StatusSource
    writer: PadesWriter
    vault: Vault
    clock: Clock
    owner: str
    work: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a document has arrived."""
    trees: dict[ContractId, Tree] = field(default_factory=dict)
    """The trees of batches whose proofs were asked for lately: they never change."""

    async def open(
        self, client: str, credential: CredentialId, token: str, level: BaselineLevel, digests: Sequence[Digest]
    ) -> Batch:
        """Open a batch; the same call again finds it (also after a crash of the caller).

        Raises:
            Refused: the activation approves anything but these documents in this order with this credential, or was
                redeemed for something else.
        """
        async with self.ledgers.read() as ledger:
            known = await ledger.credential(credential)
        if known is None:
            raise _unknown("credential", "one that is bound here")
        activation = await self.approvals.claims(token.encode())
        async with self.ledgers.read() as ledger:
            earlier = await ledger.by_activation(activation.jti)
        if earlier is None:
            # Redeemed now, while it lives; who comes back later finds what it opened.
            await approved(token, known, digests, Purpose.SIGN_DOCUMENTS, approvals=self.approvals, clock=self.clock)
        kept = await self.vault.keep(token.encode())
        batch = Batch(
            id=ContractId(new_id()),
            jti=activation.jti,
            credential=credential,
            algorithm=known.algorithm,
            client=client,
            activation=kept,
            root=Tree([digest.raw for digest in digests]).root,
            count=len(digests),
            level=level,
            opened_at=self.clock.now(),
        )
        async with self.ledgers.write() as ledger:
            return await ledger.open(batch, digests)

    async def take(self, client: str, batch: ContractId, place: int, pdf: bytes) -> Item:
        """Keep the bytes of one document; how it stands then.

        Raises:
            Refused: other bytes than those approved.
        """
        found, item = await self.item(client, batch, place)
        if Digest.of(pdf) != item.digest:
            raise Refused(
                "not-what-was-approved",
                found="a document with another digest",
                expected=f"the document number {place} as it was approved ({item.digest.short})",
                remedy="send the very bytes whose digest was approved",
                status=409,
            )
        if item.state is not DocumentState.AWAITED:
            return item
        await self.vault.keep(pdf)
        async with self.ledgers.write() as ledger:
            arrived = await ledger.arrived(found.id, place, len(pdf), self.clock.now())
        self.work.set()
        return arrived or (await self.item(client, batch, place))[1]

    async def batch(self, client: str, batch: ContractId) -> tuple[Batch, dict[DocumentState, int]]:
        """A client's batch and how many of its documents are in which state.

        Raises:
            Refused: no such batch of this client.
        """
        async with self.ledgers.read() as ledger:
            return await _find(ledger, client, batch), await ledger.counts(batch)

    async def item(self, client: str, batch: ContractId, place: int) -> tuple[Batch, Item]:
        """One document of a client's batch.

        Raises:
            Refused: no such document.
        """
        async with self.ledgers.read() as ledger:
            found = await ledger.item(batch, place)
            if found is None or found[0].client != client:
                whole = await _find(ledger, client, batch)
                raise _unknown("document", f"a number from 0 to {whole.count - 1}")
        return found

    async def items(
        self, client: str, batch: ContractId, after: int, most: int, state: DocumentState | None
    ) -> list[Item]:
        """Documents of a client's batch, in order."""
        async with self.ledgers.read() as ledger:
            await _find(ledger, client, batch)
            return await ledger.items(batch, after, most, state)

    async def proof(self, batch: Batch, place: int) -> Inclusion:
        """That the document at `place` is among those approved."""
        tree = self.trees.get(batch.id)
        if tree is None:
            async with self.ledgers.read() as ledger:
                digests = await ledger.digests(batch.id)
            tree = await asyncio.to_thread(Tree, [digest.raw for digest in digests])
            if len(self.trees) >= TREES:
                self.trees.pop(next(iter(self.trees)))
            self.trees[batch.id] = tree
        return tree.proof(place)

    async def step(self) -> bool:
        """Sign a few documents that wait, at once; whether there were any.

        The artefact has a name that only one gets, and the ledger takes only the holder of the claim: a crash anywhere
        leads to the claim again, and a finished artefact is found, not made anew.
        """
        async with self.ledgers.write() as ledger:
            claimed = await ledger.claim(self.owner, self.clock.now())
            known = {batch.credential: await ledger.credential(batch.credential) for batch, _ in claimed}
            if not claimed:
                await ledger.expire(self.clock.now())
                return False

        async def hold() -> None:
            async with self.ledgers.write() as ledger:
                await ledger.hold([item for _, item in claimed], self.owner, self.clock.now() + LEASE)

        async with renewed(hold):
            outcomes = await asyncio.gather(
                *(self._attempt(batch, item, known[batch.credential]) for batch, item in claimed)
            )
        async with self.ledgers.write() as ledger:
            for outcome in outcomes:
                if not await ledger.settle(outcome, self.owner):
                    log.warning("batch-fenced", batch=outcome.item.batch, place=outcome.item.place)
        return True

    async def _attempt(self, batch: Batch, item: Item, known: Credential | None) -> Outcome:
        try:
            signed = await self._sign(batch, item, known)
        except Unavailable as wait:
            log.info("batch-waits", batch=batch.id, place=item.place, code=wait.code)
        except Refused as fault:
            return Outcome(item, DocumentState.REFUSED, self.clock.now(), reason=fault.code)
        except Exception:
            # A fault of ours: tried again a few times, and it must not hold up the other documents.
            log.exception("batch-failed", batch=batch.id, place=item.place)
            if item.epoch >= PATIENCE:
                return Outcome(item, DocumentState.REFUSED, self.clock.now(), reason="unforeseen-fault")
        else:
            return Outcome(item, DocumentState.SIGNED, self.clock.now(), signed)
        return Outcome(item, DocumentState.WAITING, self.clock.now() + PAUSE)

    async def _sign(self, batch: Batch, item: Item, known: Credential | None) -> Digest:
        name = artefact_name(batch.id, slot_of(item.place), item.digest)
        # Who claims first finds nothing: the claim was on disk before anybody could sign.
        earlier = await self.vault.published(name) if item.epoch > 1 else None
        if earlier is not None:
            return earlier
        if known is None:
            raise _unknown("credential", "one that is bound here")
        in_good_standing(known)
        check = await self.status.check(bound_chain(known, await self.vault.fetch(known.chain)))
        check.decide()
        pdf = await self.vault.fetch(item.digest)
        now = self.clock.now()
        signed = await self.writer.sign(
            pdf,
            SigningOrder(
                redemption=Redemption(
                    jti=batch.jti,
                    contract=batch.id,
                    slot=slot_of(item.place),
                    credential=batch.credential,
                    algorithm=batch.algorithm,
                    shown=item.digest,
                    base=item.digest,
                    base_size=len(pdf),
                    redeemed_at=batch.opened_at,
                ),
                chain=check.path,
                level=batch.level,
                field=field_of(batch.id, item.place),
                index=0,
                signed_at=now.replace(microsecond=0),
                stamped=False,
            ),
            check.evidence,
        )
        digest, _ = await self.vault.publish(name, signed.pdf)
        return digest


async def _find(ledger: Ledger, client: str, batch: ContractId) -> Batch:
    found = await ledger.find(batch)
    if found is None or found.client != client:
        raise _unknown("batch", "one that this key opened")
    return found


def pressing(press: Press) -> Callable[[], Awaitable[None]]:
    """The loop that works batches off, also those that another process left behind."""

    async def lane() -> None:
        while True:
            while await press.step():
                pass
            press.work.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await press.work.wait()

    async def run() -> None:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(lane())

    return run


def _unknown(what: str, expected: str) -> Refused:
    return Refused(f"{what}-unknown", found=f"no such {what}", expected=expected, remedy="check the id", status=404)
