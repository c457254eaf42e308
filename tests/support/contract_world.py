"""The contracts service with real HTTP and a real database; what other services would say is said by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey

from events.binding import BindingFact, CertificateBound
from events.contract import ContractFact, SigningRequested
from events.fact import Fact
from events.flow import topic_of
from events.identity import IdentityFact
from events.signing import DocumentSigned, SigningFact
from events.values import (
    ApplicationId,
    BaselineLevel,
    CertificateProfile,
    CredentialId,
    Digest,
    IdentityId,
    KeyAlgorithm,
)
from events.verification import SignatureVerified, VerificationFact
from services.contracts.settings import ContractsSettings
from services.contracts.wiring import build
from services.runtime.access import ApiKey, Keyring, digest_of
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, running
from tests.support.clocks import StillClock

SENDER, OTHER, READER = "antin_test-sender", "antin_test-other", "antin_test-reader"
SPEAKERS = {IdentityFact: "ca_bridge", BindingFact: "ca_bridge", SigningFact: "signer", VerificationFact: "verifier"}


def person(number: int) -> IdentityId:
    """A pseudonym."""
    return IdentityId("abcdefghijklmnopqrstuvwxyz234567"[number] * 52)


def credential(number: int) -> CredentialId:
    """A credential's id."""
    return CredentialId(f"00000000-0000-4000-9000-{number:012d}")


def certificate(number: int) -> Digest:
    """A certificate's digest."""
    return Digest.of(b"certificate %d" % number)


@dataclass
class Answer:
    """A status, a body and the headers."""

    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> str:
        """The reason code of a problem."""
        return str(self.body["type"]).rpartition(":")[2]


class World:
    """One running service and the hands to move it."""

    def __init__(self, platform: Platform, clock: StillClock, key: ECKey, issuer: str) -> None:
        self.platform = platform
        self.clock = clock
        self.key = key
        self.issuer = issuer
        self.url = ""
        self.session: aiohttp.ClientSession

    # --- HTTP

    async def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        key: str | None = SENDER,
        once: str | None = None,
        **more: Any,
    ) -> Answer:
        """One request; `document` is sent as JSON, `once` as Idempotency-Key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if once:
            headers["Idempotency-Key"] = once
        if document is not None:
            more["json"] = document
        async with self.session.request(method, self.url + path, headers=headers, **more) as reply:
            raw = await reply.read()
            is_json = reply.content_type.endswith("json")
            return Answer(reply.status, json.loads(raw) if is_json else raw, dict(reply.headers))

    def draft(self, *orders: int, **changed: Any) -> dict[str, Any]:
        """A request for a contract of as many parties as orders."""
        made = {
            "title": "Hợp đồng thử",
            "parties": [
                {"slot": f"party-{index}", "identity": person(index), "order": order}
                for index, order in enumerate(orders)
            ],
            "deadline": (self.clock.now() + timedelta(days=7)).isoformat(),
            "send": True,
        }
        return {**made, **changed}

    async def post(self, pdf: bytes, contract: dict[str, Any], *, once: str | None = None, key: str = SENDER) -> Answer:
        """Upload a contract."""
        form = aiohttp.FormData()
        form.add_field("contract", json.dumps(contract), content_type="application/json")
        form.add_field("document", pdf, filename="contract.pdf", content_type="application/pdf")
        return await self.call("POST", "/v1/contracts", data=form, once=once, key=key)

    def step_up(self, number: int, contract: dict[str, Any], shown: str, **changed: Any) -> str:
        """What a party's phone gives: an activation."""
        now = int(self.clock.now().timestamp())
        slot = changed.pop("slot", f"party-{number}")
        claims = {
            "iss": self.issuer,
            "aud": "antin",
            "sub": person(number),
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid4()),
            "account_level": 2,
            "auth_level": 3,
            "amr": ["face", "pin"],
            "purpose": "sign",
            "digest": shown,
            "txn": f"{contract['id']}/{slot}",
            **changed,
        }
        header = {"alg": "ES256", "kid": self.key.kid, "typ": "sad+jwt"}
        return jws.serialize_compact(header, json.dumps(claims), self.key)

    async def confirm(
        self,
        number: int,
        contract: dict[str, Any],
        shown: str | None = None,
        *,
        once: str | None = None,
        **changed: Any,
    ) -> Answer:
        """A party confirms what it was shown, by default the document."""
        shown = shown or contract["document"]
        body = {"activation": self.step_up(number, contract, changed.pop("digest", shown), **changed), "shown": shown}
        path = f"/v1/contracts/{contract['id']}/slots/party-{number}/confirm"
        return await self.call("POST", path, body, key=None, once=once)

    async def decline(self, number: int, contract: dict[str, Any], **more: Any) -> Answer:
        """A party declines."""
        activation = self.step_up(number, contract, more.pop("shown", contract["document"]), purpose="decline")
        path = f"/v1/contracts/{contract['id']}/slots/party-{number}/decline"
        return await self.call("POST", path, {"activation": activation, **more}, key=None)

    async def read(self, contract: dict[str, Any]) -> dict[str, Any]:
        """The contract as it stands."""
        found = await self.call("GET", f"/v1/contracts/{contract['id']}")
        assert found.status == 200, found.body
        return dict(found.body)

    # --- facts

    async def say(self, *facts: Fact) -> None:
        """Say facts as their speaker would, and wait until the contracts have heard them."""
        for fact in facts:
            source = next(speaker for kind, speaker in SPEAKERS.items() if isinstance(fact, kind))
            async with self.platform.database.write() as tx:
                await self.platform.outbox.say(tx, source, [fact])
        await self.heard_all()

    async def heard_all(self) -> None:
        """Wait until every event has been taken to its end."""
        topics = [topic_of(family) for family in ("identity", "binding", "signing", "verification")]
        async with asyncio.timeout(20):
            while True:
                last = [delivery.offset for delivery in await self.platform.outbox.read(topics, 0, 10_000)]
                cursors = await self.platform.outbox.cursors("contracts")
                if not last or (cursors and max(cursors.values()) >= last[-1]):
                    return
                await asyncio.sleep(0.01)

    async def said(self, contract: dict[str, Any] | None = None) -> list[ContractFact]:
        """What the contracts have said, about one contract or all."""
        found = [each.event().fact for each in await self.platform.outbox.read([topic_of("contract")], 0, 10_000)]
        facts = [fact for fact in found if isinstance(fact, ContractFact)]
        return [fact for fact in facts if contract is None or fact.contract == contract["id"]]

    async def names(self, contract: dict[str, Any]) -> list[str]:
        """The names of what was said about a contract."""
        return [fact.name() for fact in await self.said(contract)]

    async def buried(self) -> list[str]:
        """The reasons of the dead letters."""
        found = await self.platform.outbox.read(["antin.contracts.dlq"], 0, 1000)
        return [json.loads(each.body)["error"]["code"] for each in found]

    async def bind(self, *numbers: int, **changed: Any) -> None:
        """Give these people certificates."""
        await self.say(*(self.bound(number, **changed) for number in numbers))

    def bound(self, number: int, **changed: Any) -> CertificateBound:
        """The fact that a certificate was bound."""
        now = self.clock.now()
        made = {
            "identity": person(number),
            "application": ApplicationId(f"00000000-0000-4000-a000-{number:012d}"),
            "credential": credential(number),
            "certificate": certificate(number),
            "chain": Digest.of(b"chain"),
            "profile": CertificateProfile.NATURAL,
            "key_algorithm": KeyAlgorithm.P256,
            "not_before": now - timedelta(days=1),
            "not_after": now + timedelta(days=365),
            "confirmed_at": now,
        }
        return CertificateBound(**{**made, **changed})

    async def requested(self, contract: dict[str, Any]) -> SigningRequested:
        """The signature that was asked for last."""
        return [fact for fact in await self.said(contract) if isinstance(fact, SigningRequested)][-1]

    async def sign(self, contract: dict[str, Any], *, verify: bool = True) -> tuple[DocumentSigned, SignatureVerified]:
        """Do what signer and verifier would: sign what was asked for last, and judge it."""
        asked = await self.requested(contract)
        signed = await self.platform.blobs.keep(
            (await self.platform.blobs.fetch(asked.base)) + b"%signed " + asked.slot.encode()
        )
        claim = DocumentSigned(
            contract=asked.contract,
            slot=asked.slot,
            identity=asked.identity,
            credential=asked.credential,
            certificate=asked.certificate,
            base=asked.base,
            shown=asked.shown,
            signed=signed,
            field=f"Antin-{asked.slot}",
            level=asked.level,
            checked=Digest.of(b"pre-sign check"),
            signed_at=self.clock.now(),
        )
        verdict = SignatureVerified(
            contract=asked.contract,
            slot=asked.slot,
            base=asked.base,
            signed=signed,
            report=Digest.of(b"report"),
            level=BaselineLevel.LTA,
            signatures=1,
        )
        await self.say(*([claim, verdict] if verify else [claim]))
        return claim, verdict


@asynccontextmanager
async def world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """Run the service in a fresh folder."""
    clock = StillClock()
    key = ECKey.generate_key("P-256", parameters={"kid": "authority-1"})
    app = web.Application()

    async def jwks(request: web.Request) -> web.Response:
        return web.json_response({"keys": [key.as_dict(private=False)]})

    app.router.add_get("/jwks.json", jwks)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    issuer = f"http://127.0.0.1:{port}"
    keys = Keyring(
        [
            ApiKey(name="sender", sha256=digest_of(SENDER), scopes=("contracts:write", "contracts:read")),
            ApiKey(name="other", sha256=digest_of(OTHER), scopes=("contracts:write", "contracts:read")),
            ApiKey(name="reader", sha256=digest_of(READER), scopes=("contracts:read",)),
        ]
    )
    platform = Platform(
        Database(f"sqlite+aiosqlite:///{folder / 'antin.db'}"),
        Blobs.at(folder / "blobs"),
        Outbound(allowed=[f"127.0.0.1:{port}"]),
        clock=clock,
    )
    made = World(platform, clock, key, issuer)
    given = {"expiry_every": 0.05, "sandboxes": 1, **settings}
    service = build(platform, ContractsSettings(authority=issuer, **given))
    try:
        async with running(platform, [service], keyring=keys) as url, aiohttp.ClientSession() as session:
            made.url, made.session = url, session
            yield made
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while True:
            found = await condition()
            if found:
                return found
            await asyncio.sleep(0.02)
