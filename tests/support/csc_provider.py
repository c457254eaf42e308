"""A remote signing service that speaks the CSC API, for tests: version 1 or 2, at once or when its holder approves."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

CLIENT, SECRET, PIN = "antin", "a client secret", "135790"
_SHA256 = "2.16.840.1.101.3.4.2.1"


@dataclass
class Offered:
    """A credential of the service."""

    id: str
    key: Any
    certificate: bytes
    algo: list[str]
    status: str = "enabled"


@dataclass
class Provider:
    """The service. `version` 1 or 2; `later`: signatures are polled for; `asks`: the holder must approve first."""

    version: int = 2
    later: bool = False
    asks: bool = False
    plain: bool = False
    """ECDSA as r and s side by side."""
    page: int = 2
    fault: str | None = None
    url: str = ""
    credentials: dict[str, Offered] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    signed: int = 0
    approved: bool | None = None
    _tokens: set[str] = field(default_factory=set)
    _sads: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    _handles: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    _answers: dict[str, tuple[list[str], str | None]] = field(default_factory=dict)

    def offer(self, key: Any, certificate: bytes, algo: str, id: str | None = None) -> str:
        """Have a credential."""
        name = id or f"remote-{len(self.credentials) + 1}"
        self.credentials[name] = Offered(name, key, certificate, [algo])
        return name

    def forget_tokens(self) -> None:
        """As after a restart of the service."""
        self._tokens.clear()

    async def answer(self, approved: bool) -> None:
        """The holder approves or refuses; who asked to be told is told."""
        self.approved = approved
        for _, uri in list(self._answers.values()):
            if uri is not None:
                async with aiohttp.ClientSession() as session, session.post(uri) as reply:
                    assert reply.status == 200, await reply.text()

    def _named(self, body: dict[str, Any], first: str, second: str) -> Any:
        name, other = (first, second) if self.version == 1 else (second, first)
        if other in body:
            raise _error(400, "invalid_request", f"{other} is not of this version")
        return body[name]

    @web.middleware
    async def edge(self, request: web.Request, handler: Any) -> Any:
        method = request.path.partition(f"/csc/v{self.version}/")[2]
        self.asked.append(method)
        if self.fault == method:
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=500)
        if self.fault == f"{method} 503":
            return web.Response(status=503)
        if method not in ("info", "oauth2/token"):
            if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
                return web.json_response({"error": "invalid_token"}, status=401)
            self.bodies.append(await request.json())
        return await handler(request)

    async def info(self, _: web.Request) -> web.Response:
        methods = ["credentials/list", "credentials/info", "credentials/authorize", "signatures/signHash"]
        found: dict[str, Any] = {
            "specs": f"{self.version}.0.0.0",
            "name": "test",
            "oauth2": self.url,
            "methods": methods,
        }
        if self.later:
            methods.append("signatures/signPolling")
            found["asynchronousOperationMode"] = True
        return web.json_response(found)

    async def token(self, request: web.Request) -> web.Response:
        given = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        form = await request.post()
        if given != f"{CLIENT}:{SECRET}" or form["grant_type"] != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        token = secrets.token_urlsafe(12)
        self._tokens.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    async def list(self, request: web.Request) -> web.Response:
        start = int((await request.json()).get("pageToken", "0"))
        names = list(self.credentials)
        found: dict[str, Any] = {"credentialIDs": names[start : start + self.page]}
        if start + self.page < len(names):
            found["nextPageToken"] = str(start + self.page)
        return web.json_response(found)

    async def describe(self, request: web.Request) -> web.Response:
        one = self.credentials[(await request.json())["credentialID"]]
        certificate = {"status": "valid", "certificates": [base64.b64encode(one.certificate).decode()]}
        return web.json_response({"key": {"status": one.status, "algo": one.algo}, "cert": certificate, "multisign": 1})

    async def authorize(self, request: web.Request) -> web.Response:
        body = await request.json()
        hashed = self._named(body, "hash", "hashes")
        pin = body.get("PIN") if self.version == 1 else {one["id"]: one["value"] for one in body["authData"]}["PIN"]
        if pin != PIN or body["numSignatures"] != len(hashed):
            return web.json_response({"error": "invalid_pin"}, status=400)
        if self.asks:
            handle = secrets.token_urlsafe(9)
            self._handles[handle] = (body["credentialID"], hashed)
            return web.json_response({"handle": handle, "expiresIn": 300}, status=202)
        return self._sad(body["credentialID"], hashed)

    def _sad(self, credential: str, hashed: list[str]) -> web.Response:
        sad = secrets.token_urlsafe(9)
        self._sads[sad] = (credential, hashed)
        return web.json_response({"SAD": sad, "expiresIn": 300})

    async def check(self, request: web.Request) -> web.Response:
        handle = (await request.json())["handle"]
        if self.approved is None:
            return web.json_response({"handle": handle}, status=202)
        if not self.approved:
            return web.json_response({"error": "access_denied", "error_description": "by the holder"}, status=400)
        return self._sad(*self._handles.pop(handle))

    async def sign(self, request: web.Request) -> web.Response:
        body = await request.json()
        hashed = self._named(body, "hash", "hashes")
        known = self._sads.pop(body["SAD"], None)
        if known != (body["credentialID"], hashed):  # SCAL2: the authorization is bound to these hashes
            return web.json_response({"error": "invalid_request", "error_description": "SAD"}, status=400)
        assert self._named(body, "hashAlgo", "hashAlgorithmOID") == _SHA256
        one = self.credentials[body["credentialID"]]
        signatures = [self._signature(one, base64.b64decode(h), body) for h in hashed]
        self.signed += len(signatures)
        if self.fault == "lost answer":
            self.fault = None
            if request.transport is not None:
                request.transport.close()
        if body.get("operationMode") == "A":
            response = secrets.token_urlsafe(9)
            self._answers[response] = (signatures, body.get("response_uri"))
            return web.json_response({"responseID": response})
        return web.json_response({"signatures": signatures})

    def _signature(self, one: Offered, digest: bytes, body: dict[str, Any]) -> str:
        assert body["signAlgo"] in one.algo
        prehashed = Prehashed(hashes.SHA256())
        if isinstance(one.key, rsa.RSAPrivateKey):
            pss = body["signAlgo"].endswith("1.1.10")
            if pss:
                salt = base64.b64decode(body["signAlgoParams"])[-1]
                value = one.key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), salt), prehashed)
            else:
                value = one.key.sign(digest, padding.PKCS1v15(), prehashed)
        else:
            value = one.key.sign(digest, ec.ECDSA(prehashed))
            if self.plain:
                r, s = decode_dss_signature(value)
                value = r.to_bytes(one.key.key_size // 8) + s.to_bytes(one.key.key_size // 8)
        if self.fault == "wrong signature":
            value = value[:-1] + bytes([value[-1] ^ 1])
        return base64.b64encode(value).decode()

    async def poll(self, request: web.Request) -> web.Response:
        signatures, _ = self._answers[(await request.json())["responseID"]]
        if self.approved is None:
            return web.json_response({}, status=202)
        if not self.approved:
            return web.json_response({"error": "access_denied"}, status=400)
        return web.json_response({"signatures": signatures})


def _error(status: int, code: str, description: str) -> web.HTTPException:
    return web.HTTPBadRequest(text=f'{{"error": "{code}", "error_description": "{description}"}}')


@asynccontextmanager
async def serving(provider: Provider) -> AsyncIterator[Provider]:
    """Serve it on a free port until the block ends."""
    app = web.Application(middlewares=[provider.edge])
    base = f"/csc/v{provider.version}"
    for path, handler in {
        "info": provider.info,
        "oauth2/token": provider.token,
        "credentials/list": provider.list,
        "credentials/info": provider.describe,
        "credentials/authorize": provider.authorize,
        "credentials/authorizeCheck": provider.check,
        "signatures/signHash": provider.sign,
        "signatures/signPolling": provider.poll,
    }.items():
        app.router.add_post(f"{base}/{path}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}{base}"
    try:
        yield provider
    finally:
        await runner.cleanup()
