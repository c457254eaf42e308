"""The national hub of remote signing services (the shape of VNeID's, partner interface 1.2) as a provider of keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from events.errors import Refused, Unavailable
from services.runtime.clock import Clock
from services.runtime.outbound import Answer as Reply
from services.runtime.outbound import Outbound
from services.signer.adapters.remote_keys import LIFE, Answer, NotAsked, Operation, RemoteKey, State
from services.signer.model import SigningAlgorithm

_STATES = {0: State.DONE, 1: State.FAILED, 2: State.WAITING, 3: State.REFUSED}
"""Status of `signings/polling`: done, failed, in progress, refused by the citizen."""

WEBHOOK_LIMIT = 64_000


@dataclass(frozen=True)
class Partner:
    """Who we are at the hub: partner code, HMAC secret, and the originator in whose name is signed."""

    url: str
    code: str
    secret: SecretStr
    originator: str


@dataclass(frozen=True)
class Told:
    """What a webhook says: about our request id or the hub's handle, with an answer."""

    id: str | None
    handle: str | None
    answer: Answer


class HubProvider:
    """`Provider` by the hub: the citizen approves each signature on the phone, within 300 s.

    Its public sources do not say what exactly X-Signature covers. Here it is HMAC-SHA256 over method, path, timestamp,
    nonce and the SHA-256 of the body, one a line; nor do they say that a repeated X-Request-Id finds the same
    transaction, which is assumed. Both stand in this module alone.
    """

    same_again = True

    def __init__(self, outbound: Outbound, partner: Partner, clock: Clock, *, timeout: float = 10.0) -> None:
        self._outbound = outbound
        self._partner = partner
        self._clock = clock
        self._timeout = timeout
        self._token: tuple[str, datetime] | None = None

    async def offer(self, algorithm: SigningAlgorithm, taken: Collection[str]) -> tuple[str, bytes]:
        """Never: the hub lists certificates by personal number, which the signer never sees.

        Raises:
            Refused: always.
        """
        raise Refused(
            "remote-key-unlinked",
            found="a credential behind which no key of the hub stands",
            expected="the hub's credentialID and certificate, told beforehand by who knows the holder",
            remedy="link it: PUT /v1/credentials/{id}/remote",
            status=409,
        )

    async def start(self, key: RemoteKey, operation: Operation) -> Answer:
        """`signings/hash` with the operation's id as request id.

        Raises:
            NotAsked: the hub has not taken it.
            Unavailable: perhaps taken, perhaps not.
        """
        asked = {
            "credentialID": key.remote,
            "originatorCode": self._partner.originator,
            "documents": [
                {
                    "documentName": f"antin-{operation.digest.short}",
                    "digestValue": base64.b64encode(operation.digest.raw).decode(),
                }
            ],
        }
        reply = await self._post("/api/v1/signings/hash", asked, request=operation.id)
        if reply.status != 200:
            raise NotAsked(
                "remote-provider",
                found=f"HTTP status {reply.status} from the hub",
                expected="a handle",
                remedy="nothing was signed; it is tried again",
                retry_after=5.0,
            )
        return self._waiting(_json(reply.body))

    async def look(self, key: RemoteKey, operation: Operation) -> Answer:
        """`signings/polling`.

        Raises:
            Unavailable: no answer.
        """
        reply = await self._post("/api/v1/signings/polling", {"handle": operation.handle})
        if reply.status != 200:
            raise _nonsense(f"HTTP status {reply.status}")
        return _result(_json(reply.body))

    def webhook(self, body: bytes, signature: str) -> Told | None:
        """What a webhook says, or none where it speaks of something else; members that are not known are passed over.

        Raises:
            Refused: not signed with our secret, or not readable.
        """
        expected = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
            raise Refused(
                "webhook-signature",
                found="a webhook that is not signed with our secret",
                expected="X-Webhook-Signature: sha256= and HMAC-SHA256 of the body, hexadecimal",
                remedy="send it as the hub does",
                status=401,
            )
        try:
            said = _json(body)
        except Unavailable as fault:
            raise Refused(
                "webhook-unreadable",
                found="a webhook that is no JSON object",
                expected="id, type, attempt and data",
                remedy="send it as the hub does",
                status=400,
            ) from fault
        data = said.get("data")
        if not isinstance(data, dict):
            return None
        request, handle = _text(data, "requestId"), _text(data, "handle")
        if said.get("type") == "SIGNHASH_WEBHOOK_TRANSCODE" and handle:
            return Told(request, handle, self._waiting(data))
        if said.get("type") == "SIGNHASH_WEBHOOK_RESULT":
            return Told(request, handle, _result(data))
        return None

    def _waiting(self, found: Mapping[str, Any]) -> Answer:
        handle, seconds = _text(found, "handle"), found.get("expiresIn")
        if not handle:
            raise _nonsense("no handle")
        life = timedelta(seconds=seconds) if isinstance(seconds, int) and 0 < seconds <= 3600 else LIFE
        return Answer(State.WAITING, handle, expires_at=self._clock.now() + life)

    # --- requests

    @property
    def _secret(self) -> bytes:
        return self._partner.secret.get_secret_value().encode()

    async def _post(self, path: str, asked: Mapping[str, Any], *, request: str | None = None) -> Reply:
        reply = await self._send(path, asked, await self._bearer(), request)
        if reply.status == 401:
            reply = await self._send(path, asked, await self._bearer(fresh=True), request)
        return reply

    async def _bearer(self, *, fresh: bool = False) -> str:
        now = self._clock.now()
        if not fresh and self._token is not None and now < self._token[1]:
            return self._token[0]
        reply = await self._send("/api/v1/auth/token", {"partnerCode": self._partner.code}, None, None)
        found = _json(reply.body) if reply.status == 200 else {}
        token, life = _text(found, "accessToken"), found.get("expiresIn", 1800)
        if not token or not isinstance(life, int):
            raise NotAsked(
                "remote-provider-login",
                found=f"no access token from the hub (HTTP status {reply.status})",
                expected="one for our partner code, signed with our secret",
                remedy="see ANTIN_SIGNER__HUB_PARTNER and ANTIN_SIGNER__HUB_SECRET_FILE",
                retry_after=30.0,
            )
        self._token = (token, now + timedelta(seconds=max(min(life, 86_400) - 30, 1)))
        return token

    async def _send(self, path: str, asked: Mapping[str, Any], bearer: str | None, request: str | None) -> Reply:
        body = json.dumps(dict(asked)).encode()
        url = self._partner.url.rstrip("/") + path
        stamp, nonce = str(int(self._clock.now().timestamp())), secrets.token_hex(16)
        covered = covers("POST", urlsplit(url).path, stamp, nonce, body)
        headers = {
            "Content-Type": "application/json",
            "X-Request-Id": request or secrets.token_hex(16),
            "X-Partner-Code": self._partner.code,
            "X-Timestamp": stamp,
            "X-Nonce": nonce,
            "X-Signature": hmac.new(self._secret, covered, hashlib.sha256).hexdigest(),
        }
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        return await self._outbound.call("POST", url, body=body, headers=headers, limit=64_000, timeout=self._timeout)


def covers(method: str, path: str, stamp: str, nonce: str, body: bytes) -> bytes:
    """What X-Signature of a request is over."""
    return "\n".join((method, path, stamp, nonce, hashlib.sha256(body).hexdigest())).encode()


def _result(found: Mapping[str, Any]) -> Answer:
    state = _STATES.get(found.get("status", -1)) if isinstance(found.get("status"), int) else None
    if state is None:
        raise _nonsense("a status that is not 0 to 3")
    if state is not State.DONE:
        return Answer(state)
    match found.get("signatures"):
        case [{"signatureValue": str(value)}]:
            pass
        case _:
            raise _nonsense("a result without one signature")
    try:
        return Answer(State.DONE, signature=base64.b64decode(value, validate=True))
    except ValueError as fault:
        raise _nonsense("a signature that is not base64") from fault


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) and len(value) <= 400 else ""


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise _nonsense("an answer that is not JSON") from fault
    if not isinstance(found, dict):
        raise _nonsense("an answer that is no JSON object")
    return found


def _nonsense(found: str) -> Unavailable:
    return Unavailable(
        "remote-provider",
        found=f"{found} from the hub",
        expected="an answer by its partner interface",
        remedy="nothing was signed; it is tried again",
        retry_after=5.0,
    )
