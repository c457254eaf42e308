"""Batches: one approval for many documents, each signed once whatever crashes, each provable against the approval."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_house import KEY, House, a_platform, house
from waiting import until

from domain.activation import hashes_txn
from domain.merkle import Inclusion, Tree
from events.binding import CertificateBound
from events.errors import Refused
from events.values import BaselineLevel, ContractId, Digest
from services.runtime.clock import Clock, SystemClock
from services.runtime.jwks import Jwks
from services.runtime.lease import LEASE
from services.signer.adapters.activations import SignedActivations
from services.signer.adapters.batch_store import SqlLedgers
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.pades_writer import EitherWriter
from services.signer.adapters.status import OnlineStatus
from services.signer.adapters.tsa import Rfc3161Authority
from services.signer.batch.handlers import Press
from services.signer.batch.model import LIFE, PATIENCE, PAUSE, DocumentState
from services.verifier.engine import examine


def documents(count: int) -> list[bytes]:
    """So many different PDFs."""
    return [pdfs.minimal(f"Document {n}") for n in range(count)]


@dataclass
class Sender:
    """A client of the batch API."""

    at: House
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, status: int, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {KEY}"} | options.pop("headers", {})
        async with self.session.request(method, self.at.url + path, headers=headers, **options) as answer:
            found = await answer.read()
            assert answer.status == status, found[:500]
            return json.loads(found) if "json" in answer.content_type else found

    def approval(self, bound: CertificateBound, digests: list[Digest], **claims: Any) -> str:
        said = {"purpose": "sign-documents", "txn": hashes_txn(bound.credential, len(digests))} | claims
        return self.at.world.activation(bound.identity, Tree([one.raw for one in digests]).root, None, None, said)

    async def open(self, bound: CertificateBound, digests: list[Digest], token: str, status: int = 201, **more: Any):
        body = {"credential": bound.credential, "activation": token, "documents": digests, "level": BaselineLevel.B}
        return await self.call("POST", "/v1/batches", status, json=body | more)

    async def send(self, batch: str, place: int, pdf: bytes, status: int = 202):
        headers = {"Content-Type": "application/pdf"}
        return await self.call("PUT", f"/v1/batches/{batch}/documents/{place}", status, data=pdf, headers=headers)

    async def ended(self, batch: str) -> dict[str, int]:
        """How the documents ended, once none is open."""
        async with asyncio.timeout(100):
            while True:
                found = (await self.call("GET", f"/v1/batches/{batch}", 200))["documents"]
                if not {"awaited", "waiting", "leased"} & found.keys():
                    return found
                await asyncio.sleep(0.05)


@asynccontextmanager
async def sending(world, tmp_path):
    async with house(world, tmp_path) as at, aiohttp.ClientSession() as session:
        yield Sender(at, session)


async def heard(sender: Sender, bound: CertificateBound) -> None:
    async def bound_here() -> bool:
        return (await sender.call("GET", f"/v1/credentials/{bound.credential}", 200))["state"] == "bound"

    await until(bound_here, what="the binding", seconds=60)


async def test_one_approval_signs_every_document_and_each_is_provable(world, tmp_path):
    async with sending(world, tmp_path) as sender:
        bound = await sender.at.bind()
        await heard(sender, bound)
        files = documents(7)
        digests = [Digest.of(pdf) for pdf in files]
        token = sender.approval(bound, digests)
        opened = await sender.open(bound, digests, token)
        batch = opened["batch"]
        assert opened["documents"] == {"awaited": 7}
        for place, pdf in enumerate(files):
            await sender.send(batch, place, pdf)
        assert await sender.ended(batch) == {"signed": 7}
        for place, pdf in enumerate(files):
            signed = await sender.call("GET", f"/v1/batches/{batch}/documents/{place}/signed", 200)
            assert signed.startswith(pdf)
            proof = await sender.call("GET", f"/v1/batches/{batch}/documents/{place}/proof", 200)
            inclusion = Inclusion(proof["place"], proof["count"], tuple(Digest(one) for one in proof["path"]))
            assert inclusion.leads(Digest.of(pdf).raw, Digest(proof["root"]))
            assert proof["activation"] == token
            assert proof["signed"] == Digest.of(signed)
        report = examine(signed, file="x.pdf", anchors=[world.root.der], now=SystemClock().now())
        assert report.signatures[0].integrity.value == "intact"


async def test_a_batch_takes_only_what_was_approved(world, tmp_path):
    async with sending(world, tmp_path) as sender:
        bound = await sender.at.bind()
        await heard(sender, bound)
        files = documents(3)
        digests = [Digest.of(pdf) for pdf in files]
        token = sender.approval(bound, digests)
        swapped = [digests[1], digests[0], digests[2]]
        for refused in (digests[:2], [*digests, digests[0]], swapped):
            await sender.open(bound, refused, token, 422)
        await sender.open(bound, digests, sender.approval(bound, digests, purpose="sign-hashes"), 422)
        opened = await sender.open(bound, digests, token)
        again = await sender.open(bound, digests, token)
        assert again["batch"] == opened["batch"], "a caller that crashed goes on with its batch"
        found = await sender.open(bound, digests, token, 409, level=BaselineLevel.LTA)
        assert found["type"].endswith("activation-spent")
        found = await sender.send(opened["batch"], 0, files[1], 409)
        assert found["type"].endswith("not-what-was-approved")
        await sender.send(opened["batch"], 3, files[0], 404)
        await sender.call("GET", f"/v1/batches/{opened['batch']}/documents/0/signed", 409)
        await sender.call("GET", f"/v1/batches/{ContractId('0' * 8 + '-0000-0000-0000-' + '0' * 12)}", 404)


async def test_what_the_ca_takes_away_is_not_signed_with(world, tmp_path):
    """Decree 23/2025/ND-CP Art 15: each document has its own look at the certificate."""
    async with sending(world, tmp_path) as sender:
        bound = await sender.at.bind()
        await heard(sender, bound)
        files = documents(2)
        digests = [Digest.of(pdf) for pdf in files]
        opened = await sender.open(bound, digests, sender.approval(bound, digests))
        await sender.send(opened["batch"], 0, files[0])

        async def one_signed() -> bool:
            found = await sender.call("GET", f"/v1/batches/{opened['batch']}", 200)
            return found["documents"].get("signed") == 1

        await until(one_signed, what="a signature", seconds=60)
        chain = await sender.at.platform.blobs.fetch(bound.chain)
        leaf = x509.load_pem_x509_certificates(chain)[0]
        world.revoked[leaf.serial_number] = x509.ReasonFlags.key_compromise
        await sender.send(opened["batch"], 1, files[1])
        assert await sender.ended(opened["batch"]) == {"signed": 1, "refused": 1}
        page = await sender.call("GET", f"/v1/batches/{opened['batch']}/documents?state=refused", 200)
        assert [one["reason"] for one in page["documents"]] == ["certificate-revoked"]


async def test_an_unusual_document_is_refused_and_holds_up_no_other(world, tmp_path):
    """Nobody looked at these PDFs before: only the reader that has limits on everything reads them."""
    async with sending(world, tmp_path) as sender:
        bound = await sender.at.bind()
        await heard(sender, bound)
        files = [b"%PDF-1.7\nno objects at all\nstartxref\n5\n%%EOF\n", *documents(1)]
        digests = [Digest.of(pdf) for pdf in files]
        opened = await sender.open(bound, digests, sender.approval(bound, digests))
        for place, pdf in enumerate(files):
            await sender.send(opened["batch"], place, pdf)
        assert await sender.ended(opened["batch"]) == {"refused": 1, "signed": 1}
        page = await sender.call("GET", f"/v1/batches/{opened['batch']}/documents?state=refused", 200)
        assert [one["reason"] for one in page["documents"]] == ["document-unusual"]


class Died(BaseException):
    """The process ends here."""


async def test_a_crash_at_any_step_leads_to_one_signature(world, tmp_path):
    """The claim is by lease and epoch, the artefact has a name that one gets: died before, at and after publishing."""
    async with house(world, tmp_path) as at, aiohttp.ClientSession() as session:
        sender = Sender(at, session)
        bound = await at.bind()
        await heard(sender, bound)
    # The signer is down now; a worker of our own dies at every step, then another takes over.
    platform = a_platform(world, tmp_path)
    anchors = [world.root.certificate]
    keys = FileKeys(tmp_path / "keys", SecretStr("correct horse"))
    status = OnlineStatus(platform.outbound, anchors, platform.clock)
    authority = Rfc3161Authority(platform.outbound, world.base + "/tsa", anchors, platform.clock)
    jwks = Jwks(platform.outbound, world.base + "/jwks.json", platform.clock)
    press = Press(
        ledgers=SqlLedgers(platform.database),
        approvals=SignedActivations(jwks, platform.database, issuer=world.base, audience="antin"),
        status=status,
        writer=EitherWriter(keys, authority, status),
        vault=platform.blobs,
        clock=platform.clock,
        owner="first",
    )
    pdf = documents(1)[0]
    async with platform.outbound:
        token = sender.approval(bound, [Digest.of(pdf)])
        batch = await press.open("bridge", bound.credential, token, BaselineLevel.B, [Digest.of(pdf)])
        await press.take("bridge", batch.id, 0, pdf)

        class Dying:
            """A vault or writer that dies before or after what it does."""

            def __init__(self, inner: Any, name: str, after: bool) -> None:
                self._inner, self._name, self._after = inner, name, after

            def __getattr__(self, name: str) -> Any:
                found = getattr(self._inner, name)
                if name != self._name:
                    return found

                async def act(*given: Any, **named: Any) -> Any:
                    if not self._after:
                        raise Died
                    await found(*given, **named)
                    raise Died

                return act

        clock = Later(press.clock)
        deaths = [
            replace(press, writer=Dying(press.writer, "sign", False)),
            replace(press, writer=Dying(press.writer, "sign", True)),
            replace(press, vault=Dying(press.vault, "publish", False)),
            replace(press, vault=Dying(press.vault, "publish", True)),
        ]
        for dying in deaths:
            with pytest.raises(Died):
                await replace(dying, clock=clock, owner="dies").step()
            assert not await replace(press, clock=clock, owner="early").step(), "the lease holds"
            clock.later += LEASE + timedelta(seconds=1)
        published = await platform.blobs.published(f"{batch.id}/document-0/{Digest.of(pdf).hex}.pdf")
        assert published is not None
        heir = replace(press, clock=clock, owner="heir")
        assert await heir.step()
        async with SqlLedgers(platform.database).write() as ledger:
            found = await ledger.item(batch.id, 0)
        assert found is not None
        item = found[1]
        assert (item.state, item.signed, item.epoch) == (DocumentState.SIGNED, published, 5)
        assert not await heir.step()
    await platform.database.close()


@dataclass
class Later:
    """A clock that can be moved forward."""

    inner: Clock
    later: timedelta = timedelta(0)

    def now(self) -> datetime:
        return self.inner.now() + self.later


async def test_a_batch_that_is_found_again_needs_no_living_activation_and_one_that_is_over_ends(world, tmp_path):
    """The activation was redeemed when it lived; a day later nothing more is signed under it."""
    platform = a_platform(world, tmp_path)
    async with house(world, tmp_path) as at, aiohttp.ClientSession() as session:
        sender = Sender(at, session)
        bound = await at.bind()
        await heard(sender, bound)
    anchors = [world.root.certificate]
    status = OnlineStatus(platform.outbound, anchors, platform.clock)
    jwks = Jwks(platform.outbound, world.base + "/jwks.json", platform.clock)
    clock = Later(platform.clock)
    press = Press(
        ledgers=SqlLedgers(platform.database),
        approvals=SignedActivations(jwks, platform.database, issuer=world.base, audience="antin"),
        status=status,
        writer=Broken(),
        vault=platform.blobs,
        clock=clock,
        owner="first",
    )
    digests = [Digest.of(pdf) for pdf in documents(2)]
    token = sender.approval(bound, digests)
    async with platform.outbound:
        opened = await press.open("bridge", bound.credential, token, BaselineLevel.B, digests)
        clock.later = timedelta(hours=1)
        again = await press.open("bridge", bound.credential, token, BaselineLevel.B, digests)
        assert again.id == opened.id
        with pytest.raises(Refused, match="activation-spent"):
            await press.open("another", bound.credential, token, BaselineLevel.B, digests)
        fresh = sender.approval(bound, digests)
        with pytest.raises(Refused, match="expired"):
            await press.open("bridge", bound.credential, fresh, BaselineLevel.B, digests)
        await press.take("bridge", opened.id, 0, documents(1)[0])
        for _ in range(PATIENCE):
            assert await press.step()
            clock.later += PAUSE
        _, item = await press.item("bridge", opened.id, 0)
        assert (item.state, item.reason) == (DocumentState.REFUSED, "unforeseen-fault")
        clock.later += LIFE
        assert not await press.step()
        _, item = await press.item("bridge", opened.id, 1)
        assert (item.state, item.reason) == (DocumentState.REFUSED, "batch-over")
    await platform.database.close()


class Broken:
    """A writer with a fault that no rule foresees."""

    async def sign(self, pdf: bytes, order: Any, evidence: Any) -> Any:
        raise KeyError("a bug")
