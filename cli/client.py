"""A caller of the HTTP API, for the demo, the kill test and the benches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp


class Failed(Exception):
    """The API refused; the problem details say what was found, what was expected and what to do."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('detail') or problem}")
        self.status = status
        self.code = str(problem.get("type", "")).rpartition(":")[2]


class Client:
    """Bearer key, JSON in and out. `patient`: lost connections and 503 are tried again with the same key."""

    def __init__(self, url: str, key: str, session: aiohttp.ClientSession, *, patient: bool = False) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session = session
        self._patient = patient

    async def get(self, path: str) -> Any:
        """A JSON answer."""
        return json.loads(await self.fetch(path))

    async def fetch(self, path: str) -> bytes:
        """An answer's bytes."""
        return await self._again(lambda: self._send("GET", path, None, {}))

    async def post(self, path: str, document: Any, *, once: str | None = None) -> Any:
        """Send JSON; `once` is the Idempotency-Key."""
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": once} if once else {})
        return json.loads(
            await self._again(lambda: self._send("POST", path, json.dumps(document).encode(), headers)) or b"null"
        )

    async def put(self, path: str, body: bytes, media: str) -> bytes:
        """Send octets of a media type."""
        return await self._again(lambda: self._send("PUT", path, body, {"Content-Type": media}))

    async def upload(self, path: str, document: Any, pdf: bytes, *, once: str | None = None) -> Any:
        """Send a contract and its PDF as multipart/form-data."""
        headers = {"Idempotency-Key": once} if once else {}

        def form() -> aiohttp.FormData:
            found = aiohttp.FormData()
            found.add_field("contract", json.dumps(document), content_type="application/json")
            found.add_field("document", pdf, content_type="application/pdf", filename="contract.pdf")
            return found

        return json.loads(await self._again(lambda: self._send("POST", path, form(), headers)))

    async def _send(self, method: str, path: str, data: Any, headers: Mapping[str, str]) -> bytes:
        async with self._session.request(
            method, self.url + path, data=data, headers={**self._headers, **headers}
        ) as reply:
            body = await reply.read()
            if reply.status >= 400:
                try:
                    problem = json.loads(body)
                except ValueError:
                    problem = {"detail": body[:200].decode(errors="replace")}
                raise Failed(reply.status, problem)
            return body

    async def _again(self, send: Callable[[], Awaitable[bytes]]) -> bytes:
        while True:
            try:
                return await send()
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                if not self._patient:
                    raise
            except Failed as fault:
                if not self._patient or fault.status != 503:
                    raise
            await asyncio.sleep(0.1)
