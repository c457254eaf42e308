"""Calls to the national hub of remote signing services, in the shape of VNeID's (partner interface 1.2)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from events.errors import Unavailable
from services.runtime.clock import Clock
from services.runtime.json_reading import object_of
from services.runtime.outbound import Answer, Outbound


@dataclass(frozen=True)
class Partner:
    """Who we are at the hub: its base URL (before /api/v1), our partner code and HMAC secret."""

    url: str
    code: str
    secret: SecretStr


class NotLoggedIn(Unavailable):
    """The hub gives no access token: nothing was asked of it."""


class Hub:
    """Posts to the hub, signed and with an access token.

    Its public sources do not say what exactly X-Signature covers. Here it is HMAC-SHA256 over method, path, timestamp,
    nonce and the SHA-256 of the body, one a line; that stands in this module alone.
    """

    def __init__(self, outbound: Outbound, partner: Partner, clock: Clock, *, timeout: float) -> None:
        self._outbound = outbound
        self._partner = partner
        self._clock = clock
        self._timeout = timeout
        self._token: tuple[str, datetime] | None = None

    async def post(self, path: str, asked: Mapping[str, Any], *, request: str | None = None) -> Answer:
        """Ask; `request` names the request, by default at random. Statuses are the caller's to judge.

        Raises:
            NotLoggedIn: no access token.
            Unavailable: no answer.
        """
        reply = await self._send(path, asked, await self._bearer(), request)
        if reply.status == 401:
            reply = await self._send(path, asked, await self._bearer(fresh=True), request)
        return reply

    def signed(self, covered: bytes) -> str:
        """HMAC-SHA256 with the secret that we share with the hub, hexadecimal."""
        return hmac.new(self._partner.secret.get_secret_value().encode(), covered, hashlib.sha256).hexdigest()

    async def _bearer(self, *, fresh: bool = False) -> str:
        now = self._clock.now()
        if not fresh and self._token is not None and now < self._token[1]:
            return self._token[0]
        reply = await self._send("/api/v1/auth/token", {"partnerCode": self._partner.code}, None, None)
        found = members(reply.body) if reply.status == 200 else {}
        token, life = text(found, "accessToken"), found.get("expiresIn", 1800)
        if not token or not isinstance(life, int):
            raise NotLoggedIn(
                "remote-provider-login",
                found=f"no access token from the hub (HTTP status {reply.status})",
                expected="one for our partner code, signed with our secret",
                remedy="see the settings HUB_PARTNER and HUB_SECRET_FILE",
                retry_after=30.0,
            )
        self._token = (token, now + timedelta(seconds=max(life - 30, 1)))
        return token

    async def _send(self, path: str, asked: Mapping[str, Any], bearer: str | None, request: str | None) -> Answer:
        body = json.dumps(dict(asked)).encode()
        url = self._partner.url.rstrip("/") + path
        stamp, nonce = str(int(self._clock.now().timestamp())), secrets.token_hex(16)
        headers = {
            "Content-Type": "application/json",
            "X-Request-Id": request or secrets.token_hex(16),
            "X-Partner-Code": self._partner.code,
            "X-Timestamp": stamp,
            "X-Nonce": nonce,
            "X-Signature": self.signed(covers("POST", urlsplit(url).path, stamp, nonce, body)),
        }
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        return await self._outbound.call("POST", url, body=body, headers=headers, limit=256_000, timeout=self._timeout)


def covers(method: str, path: str, stamp: str, nonce: str, body: bytes) -> bytes:
    """What X-Signature of a request is over."""
    return "\n".join((method, path, stamp, nonce, hashlib.sha256(body).hexdigest())).encode()


def members(body: bytes) -> dict[str, Any]:
    """The members of a JSON object.

    Raises:
        Unavailable: the hub has sent something else.
    """
    try:
        return object_of(body)
    except ValueError as fault:
        raise nonsense(f"an answer that is {fault}") from fault


def text(found: Mapping[str, Any], name: str, *, limit: int = 400) -> str:
    """A member that is text of at most `limit` characters, else nothing."""
    value = found.get(name)
    return value if isinstance(value, str) and len(value) <= limit else ""


def nonsense(found: str) -> Unavailable:
    """The hub answers, but not by its interface."""
    return Unavailable(
        "remote-provider",
        found=f"{found} from the hub",
        expected="an answer by its partner interface",
        remedy="nothing was done; it is tried again",
        retry_after=5.0,
    )
