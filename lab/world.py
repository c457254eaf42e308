"""The outside world on one loopback port: authority, CA with OCSP, CRL and TSA, registry; and its faults on demand."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from events.errors import AntinError, Refused
from lab import timestamps
from lab.authority import Authority
from lab.hub import Hub
from lab.people import Citizen, Firm, citizen, firm
from lab.pki import Pki
from lab.registry import Registry, Status

PARTS = ("authority", "ca", "ocsp", "crl", "tsa", "tsa2", "registry", "hub")
FAULTS = ("down", "slow", "nonsense", "wrong-imprint", "wrong-nonce", "stale", "unknown")
ANCHOR_SET = {"name": "lab", "kind": "lab", "label": "Antin Lab (thử nghiệm / toy)"}
"""What reports call these roots."""
_SLOW_SECONDS = 30.0
_RETRY_SECONDS = 0.2


def machine_time() -> datetime:
    """The machine's clock, in UTC."""
    return datetime.now(UTC)  # noqa: TID251


@dataclass(frozen=True)
class Urls:
    """Where the parts are."""

    authority: str
    jwks: str
    ca: str
    ocsp: str
    tsa: str
    tsa2: str
    registry: str
    hub: str


class World:
    """Everything outside, in a folder and on a port; the same keys and books after a restart on the same port."""

    def __init__(self, folder: Path, port: int = 0, clock: Callable[[], datetime] = machine_time) -> None:
        self.folder = folder
        self.port = port
        self._clock = clock
        self._faults: dict[str, str] = {}
        self.anchors = folder / "anchors"

    async def __aenter__(self) -> World:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ra_token_file = self.folder / "ra-token"
        if not self.ra_token_file.exists():
            self.ra_token_file.touch(mode=0o600)
            self.ra_token_file.write_text(secrets.token_urlsafe(32) + "\n")
        self.hub_secret_file = self.folder / "hub-secret"
        if not self.hub_secret_file.exists():
            self.hub_secret_file.touch(mode=0o600)
            self.hub_secret_file.write_text(secrets.token_urlsafe(32) + "\n")
        self.hub = Hub(self.hub_secret_file.read_text().strip(), self._clock)
        app = web.Application(middlewares=[self._edge], client_max_size=1 << 20)
        self._routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        base = f"http://127.0.0.1:{self.port}"
        self.urls = Urls(
            f"{base}/authority",
            f"{base}/authority/jwks.json",
            f"{base}/pki",
            f"{base}/pki/ocsp",
            f"{base}/pki/tsa",
            f"{base}/pki/tsa2",
            f"{base}/registry",
            f"{base}/hub",
        )
        self.authority = Authority(self.folder, self.urls.authority, self._clock)
        self.pki = await asyncio.to_thread(Pki, self.folder, self.urls.ca, self._clock)
        self.registry = Registry(self.folder)
        self.anchors.mkdir(exist_ok=True)
        (self.anchors / "root.pem").write_text(self.pki.root.pem)
        (self.anchors / "set.json").write_text(json.dumps(ANCHOR_SET, ensure_ascii=False) + "\n")
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        self._courier = asyncio.create_task(self._carry())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._courier.cancel()
        await asyncio.gather(self._courier, return_exceptions=True)
        await self._session.close()
        await self._runner.cleanup()
        for part in (self.authority, self.pki, self.registry):
            part.close()

    @property
    def host_port(self) -> str:
        """What an operator must allow: the inner `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def ra_token(self) -> str:
        """The bearer token of the registration authority."""
        return self.ra_token_file.read_text().strip()

    # --- people come to the authority

    def connect(self, intake: str, recipient: dict[str, Any]) -> None:
        """Send events to this intake, personal data encrypted to this public JWK."""
        self.authority.intake = intake
        self.authority.recipient = recipient

    def verify_citizen(self, person: Citizen, **levels: Any) -> str:
        """The citizen authenticates; returns the pseudonym."""
        return str(self.authority.verify_citizen(person.number, person.full_name, **levels)["subject"])

    def verify_organisation(self, firm: Firm, representative: str, *, status: Status = "active", **levels: Any) -> str:
        """The firm authenticates through its representative and stands in the registry; returns the pseudonym."""
        self.registry.enter(firm.tax_code, firm.name, representative, self._clock(), status)
        return str(self.authority.verify_organisation(firm.tax_code, firm.name, representative, **levels)["subject"])

    def step_up(
        self, subject: str, purpose: str, digest: str, txn: str, *, auth_level: int = 3, act_for: str | None = None
    ) -> str:
        """The holder approves on the phone; returns the activation."""
        return self.authority.step_up(subject, purpose, digest, txn, auth_level=auth_level, act_for=act_for)

    async def deliver(self) -> int:
        """Push what is waiting now; returns how many are left."""
        return await self.authority.deliver(self._session)

    def fault(self, part: str, kind: str | None) -> None:
        """Let a part misbehave, or behave again."""
        if part not in PARTS or kind not in (*FAULTS, None):
            raise Refused(
                "fault-unknown", found="another fault", expected=f"{PARTS} {FAULTS}", remedy="see lab/world.py"
            )
        if kind is None:
            self._faults.pop(part, None)
        else:
            self._faults[part] = kind

    async def _carry(self) -> None:
        while True:
            await self.authority.deliver(self._session)
            await asyncio.sleep(_RETRY_SECONDS)

    # --- HTTP

    def _routes(self, app: web.Application) -> None:
        add = app.router.add_route
        add("GET", "/authority/jwks.json", self._part("authority", self._jwks))
        add("POST", "/authority/step-up", self._part("authority", self._step_up))
        add("GET", "/authority/subjects/{subject}/events", self._part("authority", self._events))
        add("POST", "/pki/ca/certificates", self._part("ca", self._issue))
        add("GET", "/pki/ca/certificates/{serial}", self._part("ca", self._certificate))
        add("POST", "/pki/ca/certificates/{serial}/{act}", self._part("ca", self._change))
        add("POST", "/pki/ocsp", self._part("ocsp", self._ocsp))
        add("GET", "/pki/ocsp/{request:.+}", self._part("ocsp", self._ocsp))
        add("GET", "/pki/crl/{name}.crl", self._part("crl", self._crl))
        add("GET", "/pki/certs/{name}.cer", self._cer)
        add("GET", "/pki/cps", self._cps)
        add("POST", "/pki/tsa", self._part("tsa", self._tsa))
        add("POST", "/pki/tsa2", self._part("tsa2", self._tsa))
        add("GET", "/registry/enterprises/{tax_code}", self._part("registry", self._enterprise))
        for path, handler in self.hub.operations().items():
            add("POST", f"/hub{path}", self._part("hub", handler))
        add("POST", "/control/{call}", self._control)
        add("GET", "/control/state", self._state)

    @web.middleware
    async def _edge(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        try:
            return await handler(request)
        except AntinError as fault:
            status = fault.status if isinstance(fault, Refused) else 503
            return web.json_response(
                {"type": f"urn:antin-lab:{fault.code}", "title": fault.code, "status": status, "detail": str(fault)},
                status=status,
                content_type="application/problem+json",
            )

    def _part(
        self, part: str, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            match self._faults.get(part):
                case "down":
                    if request.transport is not None:
                        request.transport.close()
                    return web.Response(status=503)
                case "slow":
                    await asyncio.sleep(_SLOW_SECONDS)
                case "nonsense":
                    return web.Response(body=b"<html>It works!</html>", content_type="text/html")
            return await handler(request)

        return answer

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response(self.authority.jwks())

    async def _step_up(self, request: web.Request) -> web.Response:
        asked = await request.json()
        token = self.step_up(
            asked["subject"],
            asked["purpose"],
            asked["digest"],
            asked["txn"],
            auth_level=asked.get("auth_level", 3),
            act_for=asked.get("act_for"),
        )
        return web.json_response({"activation": token})

    async def _events(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        return web.json_response(self.authority.events(request.match_info["subject"], after))

    def _registrar(self, request: web.Request) -> None:
        if not secrets.compare_digest(request.headers.get("Authorization", ""), f"Bearer {self.ra_token}"):
            raise Refused("not-a-registrar", found="another token", expected="the RA's", remedy="send it", status=401)

    async def _issue(self, request: web.Request) -> web.Response:
        self._registrar(request)
        asked = await request.json()
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            raise Refused("no-idempotency-key", found="none", expected="Idempotency-Key", remedy="send one", status=400)
        found = self.pki.issue(key, asked["csr"], asked["profile"], asked["subject"], int(asked["validity_days"]))
        return web.json_response(found, status=201)

    async def _certificate(self, request: web.Request) -> web.Response:
        self._registrar(request)
        return web.json_response(self.pki.status(request.match_info["serial"]))

    async def _change(self, request: web.Request) -> web.Response:
        self._registrar(request)
        asked = await request.json() if request.can_read_body else {}
        to = {"suspend": "suspended", "release": "good", "revoke": "revoked"}.get(request.match_info["act"])
        if to is None:
            raise web.HTTPNotFound
        reason, invalidity = asked.get("reason"), asked.get("invalidity_date")
        return web.json_response(self.pki.change(request.match_info["serial"], to, reason, invalidity))

    async def _ocsp(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            body = base64.b64decode(request.match_info["request"])
        else:
            body = await request.read()
        fault = self._faults.get("ocsp")
        found = self.pki.ocsp(body, stale=fault == "stale", unknown=fault == "unknown")
        return web.Response(body=found, content_type="application/ocsp-response")

    async def _crl(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ("root", "issuing"):
            raise web.HTTPNotFound
        return web.Response(body=self.pki.crl(name), content_type="application/pkix-crl")

    async def _cer(self, request: web.Request) -> web.Response:
        found = {"root": self.pki.root, "issuing": self.pki.issuing}.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found.der, content_type="application/pkix-cert")

    async def _cps(self, _: web.Request) -> web.Response:
        return web.Response(text="Certification practice statement of a toy. Trust nothing that it issues.\n")

    async def _tsa(self, request: web.Request) -> web.Response:
        second = request.path.endswith("tsa2")
        fault = self._faults.get("tsa2" if second else "tsa")
        found = timestamps.answer(
            await request.read(),
            self.pki.tsa2 if second else self.pki.tsa,
            self._clock,
            wrong_imprint=fault == "wrong-imprint",
            wrong_nonce=fault == "wrong-nonce",
        )
        return web.Response(body=found, content_type="application/timestamp-reply")

    async def _enterprise(self, request: web.Request) -> web.Response:
        return web.json_response(self.registry.look_up(request.match_info["tax_code"]))

    # --- driving the world from another process

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "urls": vars(self.urls),
                "anchors": str(self.anchors.resolve()),
                "ra_token_file": str(self.ra_token_file.resolve()),
                "hub_secret_file": str(self.hub_secret_file.resolve()),
                "host_port": self.host_port,
            }
        )

    async def _control(self, request: web.Request) -> web.Response:
        asked: dict[str, Any] = await request.json()
        found: Any
        match request.match_info["call"]:
            case "connect":
                self.connect(asked["intake"], asked["recipient"])
                return web.json_response({})
            case "citizen":
                return web.json_response({"subject": self.verify_citizen(citizen(int(asked["index"])))})
            case "firm":
                one, by = firm(int(asked["index"])), str(asked["representative"])
                return web.json_response({"subject": self.verify_organisation(one, by)})
            case "verify-citizen":
                found = self.authority.verify_citizen(**asked)
            case "verify-organisation":
                named = Firm(asked.pop("tax_code"), asked.pop("name"))
                return web.json_response({"subject": self.verify_organisation(named, **asked)})
            case "lock" | "unlock" | "end" | "dissolve" | "change_representative" | "update_citizen" as act:
                found = getattr(self.authority, act)(**asked)
            case "hub-enrol":
                held = self.hub.enrol(citizen(int(asked["index"])), self.pki)
                return web.json_response(
                    {"credentialID": held.id, "certificate": held.certificate, "chain": held.chain}
                )
            case "hub-webhook":
                self.hub.webhook = asked["url"]
                return web.json_response({})
            case "hub-approve" | "hub-refuse" as answer:
                waiting = self.hub.waiting()
                for signing in waiting:
                    await (self.hub.approve(signing) if answer == "hub-approve" else self.hub.refuse(signing))
                return web.json_response({"answered": len(waiting)})
            case "fault":
                self.fault(asked["part"], asked["kind"])
                return web.json_response({})
            case _:
                raise web.HTTPNotFound
        return web.json_response(found)


async def serve(folder: Path, port: int, ready: Callable[[World], None]) -> None:
    """Run the world until cancelled."""
    async with World(folder, port) as world:
        ready(world)
        await asyncio.Event().wait()
