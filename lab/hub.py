"""The national signing hub as a toy, in the shape of VNeID's partner interface 1.2: the citizen approves on the phone.

States of a signing: 0 done, 1 failed, 2 in progress, 3 refused by the citizen; after 300 s it fails. The keys are the
providers' own, with certificates of the lab's CA. What is asked twice under one X-Request-Id is one transaction.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from lab.people import Citizen
from lab.pki import Pki

LIFE = timedelta(seconds=300)
TOKEN_LIFE = 1800
SKEW = 300
DONE, FAILED, IN_PROGRESS, REFUSED = 0, 1, 2, 3


@dataclass
class Held:
    """A key that a provider keeps for a citizen."""

    id: str
    number: str
    key: ec.EllipticCurvePrivateKey
    certificate: str
    chain: list[str]


@dataclass
class Signing:
    """One request to sign, on the citizen's phone."""

    handle: str
    request: str
    held: Held
    digests: list[tuple[str, bytes]]
    ends: datetime
    status: int = IN_PROGRESS
    signatures: list[dict[str, str]] = field(default_factory=list)


class Hub:
    """The hub in memory. `webhook`: where results are told, if anywhere."""

    def __init__(self, secret: str, clock: Callable[[], datetime]) -> None:
        self.partner, self.secret = "ANTIN-LAB", secret
        self.webhook: str | None = None
        self.asked: list[str] = []
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._signings: dict[str, Signing] = {}
        self._tokens: set[str] = set()
        self._nonces: set[str] = set()
        self._told = 0

    # --- citizens

    def enrol(self, person: Citizen, pki: Pki) -> Held:
        """A provider makes a key for the citizen and has it certified."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        subject = {"full_name": person.full_name, "personal_number": person.number}
        made = pki.issue(str(uuid.uuid4()), pem, "natural", subject, 365)
        held = Held(str(uuid.uuid4()), person.number, key, made["certificate"], made["chain"])
        self._held[held.id] = held
        return held

    def waiting(self) -> list[Signing]:
        """What shows on phones now, oldest first."""
        self._expire()
        return [one for one in self._signings.values() if one.status == IN_PROGRESS]

    async def approve(self, signing: Signing) -> None:
        """The citizen approves with passcode and face."""
        if signing.status == IN_PROGRESS and self._clock() <= signing.ends:
            for name, digest in signing.digests:
                value = signing.held.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
                signing.signatures.append({"documentName": name, "signatureValue": base64.b64encode(value).decode()})
            signing.status = DONE
        await self._tell("SIGNHASH_WEBHOOK_RESULT", self._result(signing) | {"requestId": signing.request})

    async def refuse(self, signing: Signing) -> None:
        """The citizen says no."""
        signing.status = REFUSED
        await self._tell("SIGNHASH_WEBHOOK_RESULT", self._result(signing) | {"requestId": signing.request})

    def _expire(self) -> None:
        for one in self._signings.values():
            if one.status == IN_PROGRESS and self._clock() > one.ends:
                one.status = FAILED

    # --- the partner interface

    def operations(self) -> dict[str, Callable[[web.Request], Awaitable[web.Response]]]:
        """What is posted where, below the hub's own address."""
        return {
            "/api/v1/auth/token": self._token,
            "/api/v1/auth/refresh": self._token,
            "/api/v1/certificates/list": self._list,
            "/api/v1/signings/hash": self._hash,
            "/api/v1/signings/polling": self._polling,
        }

    async def _checked(self, request: web.Request, *, bearer: bool = True) -> dict[str, Any]:
        """The body of a request that is signed, fresh, not replayed, and carries a token."""
        body = await request.read()
        stamp, nonce = request.headers.get("X-Timestamp", ""), request.headers.get("X-Nonce", "")
        lines = ("POST", request.path, stamp, nonce, hashlib.sha256(body).hexdigest())
        expected = hmac.new(self.secret.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()
        fresh = stamp.isdigit() and abs(self._clock().timestamp() - int(stamp)) <= SKEW
        if (
            not hmac.compare_digest(expected, request.headers.get("X-Signature", ""))
            or request.headers.get("X-Partner-Code") != self.partner
            or not fresh
            or nonce in self._nonces
        ):
            raise web.HTTPForbidden(text="signature, partner, timestamp or nonce")
        self._nonces.add(nonce)
        if bearer and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            raise web.HTTPUnauthorized(text="token")
        self.asked.append(request.path.rpartition("/api/v1/")[2])
        found: dict[str, Any] = json.loads(body)
        return found

    async def _token(self, request: web.Request) -> web.Response:
        await self._checked(request, bearer=False)
        token = secrets.token_urlsafe(24)
        self._tokens.add(token)
        return web.json_response({"accessToken": token, "expiresIn": TOKEN_LIFE})

    async def _list(self, request: web.Request) -> web.Response:
        asked = await self._checked(request)
        found = [
            {"credentialID": one.id, "certificate": one.certificate, "chain": one.chain}
            for one in self._held.values()
            if one.number == asked.get("citizenPid")
        ]
        return web.json_response({"certificates": found})

    async def _hash(self, request: web.Request) -> web.Response:
        asked = await self._checked(request)
        name = request.headers.get("X-Request-Id", "")
        held = self._held.get(str(asked.get("credentialID")))
        documents = asked.get("documents")
        if held is None or not isinstance(documents, list) or not 1 <= len(documents) <= 50:
            raise web.HTTPBadRequest(text="credentialID or documents")
        known = next((one for one in self._signings.values() if one.request == name), None)
        if known is None:
            digests = [(str(one["documentName"]), base64.b64decode(one["digestValue"])) for one in documents]
            known = Signing(secrets.token_hex(16), name, held, digests, self._clock() + LIFE)
            self._signings[known.handle] = known
        seconds = max(1, int((known.ends - self._clock()).total_seconds()))
        answer = {"handle": known.handle, "expiresIn": seconds}
        await self._tell("SIGNHASH_WEBHOOK_TRANSCODE", answer | {"requestId": name})
        return web.json_response(answer)

    async def _polling(self, request: web.Request) -> web.Response:
        asked = await self._checked(request)
        self._expire()
        signing = self._signings.get(str(asked.get("handle")))
        if signing is None:
            raise web.HTTPNotFound(text="handle")
        return web.json_response(self._result(signing))

    def _result(self, signing: Signing) -> dict[str, Any]:
        return {"handle": signing.handle, "status": signing.status, "signatures": signing.signatures}

    async def _tell(self, kind: str, data: dict[str, Any]) -> None:
        """Call the partner back, once; a member is added that nobody has told the partner about."""
        if self.webhook is None:
            return
        self._told += 1
        body = json.dumps({"id": self._told, "type": kind, "attempt": 1, "data": data, "future": {}}).encode()
        signature = "sha256=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Webhook-Signature": signature}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            try:
                async with session.post(self.webhook, data=body, headers=headers) as reply:
                    await reply.read()
            except (aiohttp.ClientError, TimeoutError):
                return
