"""A subscriber's endpoint as a toy: verifies, remembers and drops duplicates, and can fail, be slow or be gone."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    id: str
    body: bytes
    verified: bool
    answered: int
    headers: Mapping[str, str] = field(repr=False)

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent inside."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver:
    """An async context manager on loopback. `secret`: the `whsec_...` of the subscription; may be set later.

    What does not verify is answered 401 and counted in `refused`. What verifies is recorded in `received`, duplicates
    and requests answered with a failure included; `messages` holds each webhook-id that was accepted, once.
    """

    def __init__(self, secret: str | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.secret = secret
        self.received: list[Received] = []
        self.refused: list[Received] = []
        self.messages: OrderedDict[str, Received] = OrderedDict()
        self.url = ""
        self._host = host
        self._port = port
        self._failures: list[tuple[int, dict[str, str]]] = []
        self._always: int | None = None
        self._delay = 0.0
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        """`host:port`, as an operator allows it."""
        return f"{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://{self.address}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def fail(self, times: int, status: int = 500, *, retry_after: str | None = None) -> None:
        """Answer the next so many requests with this status."""
        headers = {"Retry-After": retry_after} if retry_after is not None else {}
        self._failures.extend([(status, headers)] * times)

    def gone(self) -> None:
        """Answer 410 from now on."""
        self._always = 410

    def well(self) -> None:
        """Answer 204 from now on."""
        self._always = None
        self._failures.clear()
        self._delay = 0.0

    def slow(self, seconds: float) -> None:
        """Wait so long before every answer."""
        self._delay = seconds

    async def wait_for(self, count: int, *, seconds: float = 30.0) -> list[Received]:
        """The accepted messages, once there are at least `count`.

        Raises:
            TimeoutError: there were fewer after `seconds`.
        """
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)
        return list(self.messages.values())

    async def wait_for_requests(self, count: int, *, seconds: float = 30.0) -> list[Received]:
        """Every verified request so far, once there are at least `count`.

        Raises:
            TimeoutError: there were fewer after `seconds`.
        """
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)
        return list(self.received)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        verified = self._verifies(request.headers, body)
        status, headers = (401, dict[str, str]()) if not verified else self._answer()
        found = Received(request.headers.get("webhook-id", ""), body, verified, status, dict(request.headers))
        if verified:
            self.received.append(found)
        else:
            self.refused.append(found)
        if self._delay:
            await asyncio.sleep(self._delay)
        if 200 <= status < 300:
            self.messages.setdefault(found.id, found)
        async with self._changed:
            self._changed.notify_all()
        return web.Response(status=status, headers=headers)

    def _answer(self) -> tuple[int, dict[str, str]]:
        if self._always is not None:
            return self._always, {}
        return self._failures.pop(0) if self._failures else (204, {})

    def _verifies(self, headers: Mapping[str, str], body: bytes) -> bool:
        if self.secret is None:
            return False
        try:
            Webhook(self.secret).verify(body, dict(headers))
        except (WebhookVerificationError, ValueError):
            return False
        return True
