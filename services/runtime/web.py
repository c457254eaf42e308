"""HTTP in: routes with types, one mapping of errors (RFC 9457), idempotent writes, OpenAPI 3.1 from the same table."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from math import ceil
from typing import Any, Protocol

import sqlalchemy as sa
import structlog
from aiohttp import BodyPartReader, hdrs, web
from pydantic import BaseModel, ValidationError

from events.errors import AntinError, Malformed, Refused, Unavailable
from services.runtime.access import Access, Caller, Keyring
from services.runtime.clock import Clock
from services.runtime.database import Database, Tx
from services.runtime.json_reading import value_of
from services.runtime.outbox import new_id
from services.runtime.tables import idempotency

log = structlog.get_logger()

JSON = "application/json"
FORM = "multipart/form-data"
PROBLEM = "application/problem+json"
PROBLEM_BASE = "urn:antin:problem:"

STRICT_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@dataclass
class Call:
    """One request, checked: what a handler gets."""

    caller: Caller
    path: Mapping[str, str]
    body: Any = None
    query: Any = None
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, bytes] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """The file names that a form's parts were sent under, as they were sent."""
    prepared: Any = None
    peer: str = ""
    """The address at the other end of the connection, perhaps a proxy's (services.runtime.door.client)."""
    forwarded: Sequence[str] = ()
    """The X-Forwarded-For lines as they were sent; anybody may write them."""
    _tx: Tx | None = None

    @property
    def tx(self) -> Tx:
        """The transaction of a write: what is written, what is said and the remembered answer commit together."""
        if self._tx is None:
            raise RuntimeError("only routes with writes=True have a transaction")
        return self._tx


@dataclass(frozen=True)
class Reply:
    """What a handler answers: a model, JSON values or bytes."""

    body: Any = None
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Awaitable[Reply]]


class Door(Protocol):
    """Lets strangers in by turns (services.runtime.door)."""

    def enter(self, peer: str, forwarded: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """A place, held from before the body is read until it is answered.

        Raises:
            Refused: 429, this caller has had its share. Unavailable: all places are taken.
        """
        ...


@dataclass(frozen=True)
class Fault:
    """A refusal as a page may show it: the problem details and what was asked."""

    problem: Mapping[str, Any]
    code: str
    retry_after: int | None
    """Seconds."""
    headers: Mapping[str, str]
    """Of the request."""
    query: Mapping[str, str]


_SHOW: web.RequestKey[Callable[[Fault], Reply]] = web.RequestKey("show", object)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Route:
    """One operation of the API, whole: the router, the checks and OpenAPI read the same entry.

    `body`: the JSON body's model; `parts`: names of multipart file parts, `body` is then the JSON part `body_part`.
    `raw`: media types taken as they are (Call.raw). `writes`: runs in one transaction and honours Idempotency-Key.
    `prepare`: runs before the transaction (slow checks, blobs); its result is Call.prepared. `limit`: bytes.
    `intake`: brings new work, and is refused while too much waits (services.runtime.pressure).
    `once`: members of the answer that are shown the first time only and never remembered (secrets).
    With both `raw` and `parts`, the Content-Type decides. `door`: takes turns, for what anybody may call; the body must
    then arrive within `patience` seconds. `show`: how a refusal looks where people and not programs are answered.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    access: Access
    answer: type[BaseModel] | str
    status: int = 200
    description: str = ""
    body: type[BaseModel] | None = None
    body_part: str = "body"
    parts: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()
    query: type[BaseModel] | None = None
    writes: bool = False
    prepare: Callable[[Call], Awaitable[Any]] | None = None
    limit: int = 64 * 1024
    once: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    internal: bool = False
    intake: bool = False
    door: Door | None = None
    patience: float = 120.0
    show: Callable[[Fault], Reply] | None = None


def problem(fault: AntinError, status: int, instance: str) -> dict[str, Any]:
    """The fault as RFC 9457 problem details."""
    return {
        "type": f"{PROBLEM_BASE}{fault.code}",
        "title": fault.code.replace("-", " "),
        "status": status,
        "detail": f"Found {fault.found}; expected {fault.expected}; {fault.remedy}.",
        "found": fault.found,
        "expected": fault.expected,
        "remedy": fault.remedy,
        "instance": f"urn:uuid:{instance}",
    }


def status_of(fault: AntinError) -> int:
    """The HTTP status of a fault, mapped once."""
    if isinstance(fault, Refused):
        return fault.status
    return 503 if isinstance(fault, Unavailable) else 400


class Gauge(Protocol):
    """Knows how much waits (services.runtime.pressure)."""

    def admit(self) -> None:
        """Raises Refused (429) or Unavailable (503) when no new work can be taken."""
        ...


class Api:
    """Turns routes into an aiohttp application."""

    def __init__(
        self,
        routes: Iterable[Route],
        database: Database,
        keyring: Keyring,
        clock: Clock,
        gauge: Gauge | None = None,
    ) -> None:
        self._gauge = gauge
        self.routes = tuple(routes)
        self._database = database
        self._keyring = keyring
        self._clock = clock

    def mount(self, app: web.Application) -> None:
        """Add every route to `app`."""
        for route in self.routes:
            app.router.add_route(route.method, route.path, self._bind(route))

    def _bind(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(route, request)

        return answer

    async def _answer(self, route: Route, request: web.Request) -> web.Response:
        caller = self._keyring.admit(request.headers.get(hdrs.AUTHORIZATION), route.access)
        if route.intake and self._gauge is not None:
            self._gauge.admit()
        if route.show is not None:
            request[_SHOW] = route.show
        if route.door is not None:
            async with route.door.enter(request.remote or "", _forwarded(request)):
                return _response(await route.handler(await _patiently(route, request, caller)))
        call = await _read(route, request, caller)
        if not route.writes:
            return _response(await route.handler(call))
        key = request.headers.get("Idempotency-Key")
        scope = f"{caller.name} {route.method} {request.path}"[:160]
        fingerprint = hashlib.sha256(call.raw).hexdigest()
        if key is not None:
            if not 1 <= len(key) <= 255:
                raise _bad("idempotency-key-invalid", "an Idempotency-Key of odd length", "1 to 255 characters")
            async with self._database.read() as conn:
                known = (await conn.execute(_known(scope, key))).first()
            if known is not None:
                return _again(known, fingerprint)
        if route.prepare is not None:
            call.prepared = await route.prepare(call)
        async with self._database.write() as tx:
            if key is not None:
                if tx.conn.dialect.name == "postgresql":
                    # SQLite has one writer; here two requests with one key must take turns.
                    turn = sa.func.hashtextextended(f"{scope} {key}", 0)
                    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(turn)))
                known = (await tx.execute(_known(scope, key))).first()
                if known is not None:
                    return _again(known, fingerprint)
            call._tx = tx
            response = _response(await route.handler(call))
            if key is not None:
                await tx.execute(
                    idempotency.insert().values(
                        scope=scope,
                        key=key,
                        fingerprint=fingerprint,
                        status=response.status,
                        media=response.headers[hdrs.CONTENT_TYPE],
                        body=_without(route.once, response.body),
                        at=self._clock.now(),
                    )
                )
        return response


def _forwarded(request: web.Request) -> Sequence[str]:
    return request.headers.getall("X-Forwarded-For", [])


def _known(scope: str, key: str) -> sa.Select[Any]:
    return sa.select(idempotency).where(idempotency.c.scope == scope, idempotency.c.key == key)


def _without(members: Sequence[str], body: Any) -> bytes:
    if not members or not body:
        return bytes(body or b"")
    values = json.loads(body)
    return json.dumps({name: value for name, value in values.items() if name not in members}).encode()


def _again(known: Any, fingerprint: str) -> web.Response:
    if known.fingerprint != fingerprint:
        raise Refused(
            "idempotency-key-reused",
            found="an Idempotency-Key that was used for another request",
            expected="one key for one request",
            remedy="take a new key for a new request",
            status=422,
        )
    return web.Response(
        body=bytes(known.body),
        status=known.status,
        headers={hdrs.CONTENT_TYPE: known.media, "Idempotency-Replayed": "true"},
    )


async def _patiently(route: Route, request: web.Request, caller: Caller) -> Call:
    try:
        async with asyncio.timeout(route.patience):
            return await _read(route, request, caller)
    except TimeoutError as fault:
        raise Refused(
            "too-slow",
            found=f"a body that is not whole after {route.patience:g} seconds",
            expected="the whole body",
            remedy="send it again over a faster line, or send less",
            status=408,
        ) from fault


async def _read(route: Route, request: web.Request, caller: Caller) -> Call:
    call = Call(
        caller,
        dict(request.match_info),
        headers=request.headers,
        peer=request.remote or "",
        forwarded=_forwarded(request),
    )
    if route.query is not None:
        call.query = _model(route.query, dict(request.query), "the query")
    elif request.query:
        raise _bad("unknown-query", "query parameters", "none here")
    if route.raw and route.parts:
        _expect_type(request, (*route.raw, FORM))
    if route.parts and not (route.raw and request.content_type in route.raw):
        await _read_parts(route, request, call)
    elif route.body is not None:
        _expect_type(request, (JSON,))
        call.raw = await _bounded(request.content.iter_chunked(64 * 1024), route.limit)
        call.body = _json(route.body, call.raw)
    elif route.raw:
        _expect_type(request, route.raw)
        call.raw = await _bounded(request.content.iter_chunked(64 * 1024), route.limit)
    return call


async def _read_parts(route: Route, request: web.Request, call: Call) -> None:
    _expect_type(request, (FORM,))
    found: dict[str, bytes] = {}
    names: dict[str, str] = {}
    expected = {*route.parts, route.body_part} if route.body is not None else set(route.parts)
    try:
        reader = await request.multipart()
        async for part in reader:
            if not isinstance(part, BodyPartReader) or part.name not in expected or part.name in found:
                raise _bad("unexpected-part", "a part that is unknown or given twice", ", ".join(sorted(expected)))
            found[part.name] = await _bounded(_chunks(part), route.limit)
            names[part.name] = part.filename or ""
    except (ValueError, AssertionError) as fault:
        raise _bad("multipart-unreadable", "a body that is not multipart/form-data", "RFC 7578 form data") from fault
    if found.keys() != expected:
        raise _bad("part-missing", f"the parts {sorted(found)}", f"the parts {sorted(expected)}")
    if route.body is not None:
        call.body = _json(route.body, found[route.body_part])
    call.parts, call.names = found, names
    call.raw = b"".join(hashlib.sha256(name.encode() + b"\0" + found[name]).digest() for name in sorted(found))


async def _chunks(part: BodyPartReader) -> Any:
    while piece := await part.read_chunk(64 * 1024):
        yield piece


async def _bounded(chunks: Any, limit: int) -> bytes:
    found = bytearray()
    async for piece in chunks:
        found += piece
        if len(found) > limit:
            raise Refused(
                "too-large",
                found=f"a body of more than {limit} bytes",
                expected=f"at most {limit} bytes",
                remedy="send less",
                status=413,
            )
    return bytes(found)


def _expect_type(request: web.Request, media: Sequence[str]) -> None:
    if request.content_type not in media:
        raise Refused(
            "media-type-unsupported",
            found=f"Content-Type {request.content_type[:60]}",
            expected=" or ".join(media),
            remedy="set the Content-Type header",
            status=415,
        )


def _json(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        values = value_of(raw)
    except ValueError as fault:
        raise _bad("not-json", "a body that is not JSON", "a JSON object") from fault
    return _model(model, values, "the body")


def _model(model: type[BaseModel], values: Any, where: str) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as fault:
        # Names of members and what was expected of them; never what was found there, which may be private.
        faults = "; ".join(
            f"{'.'.join(str(part) for part in error['loc']) or where}: {error['msg']}"[:160]
            for error in fault.errors(include_input=False, include_url=False)[:8]
        )
        raise _bad("invalid-input", f"{where} does not fit its schema ({faults})", "what /openapi.json says") from fault


def _bad(code: str, found: str, expected: str) -> Refused:
    status = 422 if code == "invalid-input" else 400
    return Refused(code, found=found, expected=expected, remedy="correct the request and send it again", status=status)


def _response(reply: Reply) -> web.Response:
    body = reply.body
    if isinstance(body, BaseModel):
        body = body.model_dump_json(exclude_none=True).encode()
    elif body is not None and not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False).encode()
    headers = {hdrs.CONTENT_TYPE: reply.media, **reply.headers}
    return web.Response(body=body or b"", status=reply.status, headers=headers)


@web.middleware
async def edge(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    """The one place where faults become answers, and every answer gets its security headers."""
    instance = new_id()
    structlog.contextvars.bind_contextvars(request=instance)
    try:
        response = await handler(request)
    except AntinError as fault:
        status = status_of(fault)
        headers = {"Retry-After": str(ceil(getattr(fault, "retry_after", None) or 2))} if status in (429, 503) else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        response = _told(request, fault, status, instance, headers)
    except web.HTTPException as fault:
        phrase = HTTPStatus(fault.status).phrase
        plain = Malformed(
            phrase.lower().replace(" ", "-"), found=phrase, expected="a path and method of /docs", remedy="see /docs"
        )
        kept = {name: fault.headers[name] for name in ("Allow", "Location") if name in fault.headers}
        response = _response(Reply(problem(plain, fault.status, instance), fault.status, PROBLEM, kept))
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("request-failed", method=request.method, route=_route_of(request))
        unknown = Unavailable(
            "unforeseen-fault", found="a fault that no rule foresees", expected="an answer", remedy="quote the instance"
        )
        response = _told(request, unknown, 500, instance, {})
    response.headers.setdefault("Content-Security-Policy", STRICT_CSP)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-store")
    structlog.contextvars.unbind_contextvars("request")
    return response


def _told(
    request: web.Request, fault: AntinError, status: int, instance: str, headers: Mapping[str, str]
) -> web.Response:
    """Problem details, or the page that the route shows instead."""
    told = problem(fault, status, instance)
    show = request.get(_SHOW)
    if show is None:
        return _response(Reply(told, status, PROBLEM, headers))
    wait = int(headers["Retry-After"]) if "Retry-After" in headers else None
    page = show(Fault(told, fault.code, wait, request.headers, request.query))
    return _response(replace(page, status=status, headers={**page.headers, **headers}))


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
