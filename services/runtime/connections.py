"""POST over persistent connections (RFC 9112 clause 9.3), for what is asked at every signature.

aiohttp's client takes 0.45 ms of processor for such a request, more than all else that a timestamp costs; this takes a
third of it (docs/adr/0011-timestamps-over-connections-of-our-own.md). The octets are read by llhttp, as in aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import httptools
from yarl import URL

from services.runtime.json_reading import value_of

IDLE_MOST = 8
"""Idle connections kept for one origin."""
IDLE_LONGEST = 30.0
"""Seconds after which an idle connection is not used again: whatever stands between may have forgotten it."""
ORIGINS_MOST = 64
HEAD_MOST = 16 * 1024
"""Octets of an answer's status line and fields."""
AROUND_MOST = 8
"""Octets that may come for each that the body may have: one in a chunk of its own takes 6 (RFC 9112 clause 7.1)."""

Origin = tuple[str, str, int]
Fields = tuple[tuple[str, str], ...]
"""A request's header fields, names and values; hashable, so that the head of one that is sent again is made once."""


class Answer(NamedTuple):
    """What came back, whole; names of fields are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return value_of(self.body)


class Stale(ConnectionError):
    """The other side closed an idle connection just when it was used again; nothing of an answer had come."""


class Connections:
    """Persistent connections by origin. `check` is given every resolved address before it is connected to."""

    def __init__(self, check: Callable[[tuple[Any, ...]], None]) -> None:
        self._check = check
        self._idle: dict[Origin, list[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Close those that are idle."""
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()

    async def post(self, url: str, body: bytes, fields: Fields, *, limit: int, timeout: float) -> Answer:
        """One request, repeated once if an idle connection turns out to be closed: it must be safe to repeat.

        `limit` is in octets of the answer's body, `timeout` in seconds.

        Raises:
            OSError: no connection, a forbidden address, or one that broke (TimeoutError: too slow).
            ValueError: no answer of HTTP/1.1, or one that is too large.
        """
        origin, head = _request(url, fields)
        request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        now = asyncio.get_running_loop().time()
        connection = self._take(origin, now - IDLE_LONGEST)
        if connection is not None:
            try:
                answer = await connection.ask(request, limit, now + timeout)
            except Stale:
                connection = None
        if connection is None:
            async with asyncio.timeout_at(now + timeout):
                connection = await self._connect(origin)
            answer = await connection.ask(request, limit, now + timeout)
        if not connection.closed:
            self._keep(origin, connection)
        return answer

    def _take(self, origin: Origin, oldest: float) -> _Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if not connection.closed and connection.used > oldest:
                return connection
            connection.abort()
        return None

    def _keep(self, origin: Origin, connection: _Connection) -> None:
        idle = self._idle.get(origin)
        if idle is None:
            if len(self._idle) >= ORIGINS_MOST:
                self.close()
            idle = self._idle.setdefault(origin, [])
        if len(idle) < IDLE_MOST:
            idle.append(connection)
        else:
            connection.abort()

    async def _connect(self, origin: Origin) -> _Connection:
        scheme, host, port = origin
        if scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        loop = asyncio.get_running_loop()
        fault: OSError = ConnectionError("no address")
        for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            plug = None
            try:
                self._check(address)  # after DNS: what is checked is what is connected to
                plug = socket.socket(family, kind, protocol)
                plug.setblocking(False)
                await loop.sock_connect(plug, address)
                _, connection = await loop.create_connection(
                    _Connection,
                    sock=plug,
                    ssl=self._tls if scheme == "https" else None,
                    server_hostname=host if scheme == "https" else None,
                )
                return connection
            except OSError as found:
                fault = found
                if plug is not None:
                    plug.close()
            except BaseException:
                if plug is not None:
                    plug.close()
                raise
        raise fault


class _Reading:
    """An answer while it comes in."""

    __slots__ = ("body", "fields", "future", "in_body", "limit", "octets", "until")

    def __init__(self, future: asyncio.Future[Answer], until: float, limit: int) -> None:
        self.future = future
        self.until = until
        self.limit = limit
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.octets = 0
        self.in_body = False

    def headers(self) -> dict[str, str]:
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.fields}


class _Connection(asyncio.Protocol):
    """A connection on which one request at a time is answered. Methods `on_...` are called by the parser."""

    def __init__(self) -> None:
        self.used = 0.0
        self.closed = False
        self._fresh = True
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reading: _Reading | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def ask(self, request: bytes, limit: int, until: float) -> Answer:
        """The answer to a request, waited for until then by the loop's clock."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self.closed:
            raise Stale
        reading = self._reading = _Reading(loop.create_future(), until, limit)
        self._transport.write(request)
        if self._alarm is None or self._alarm.when() > until:
            self._set_alarm(loop, until)
        try:
            answer = await reading.future
        except BaseException:
            self.abort()
            raise
        finally:
            self._reading = None
        self._fresh, self.used = False, loop.time()
        return answer

    def abort(self) -> None:
        """Close it, whatever is under way."""
        self.closed = True
        self._unset_alarm()
        if self._transport is not None:
            self._transport.abort()

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        # It stays for the requests to come: one for each of them would cost a tenth of what they take.
        self._unset_alarm()
        self._alarm = loop.call_at(when, self._ring, loop)

    def _unset_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        reading = self._reading
        if reading is None:
            return
        if loop.time() < reading.until:
            self._set_alarm(loop, reading.until)
        else:
            self._fail(reading, TimeoutError())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP and TLS give nothing else
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._unset_alarm()
        reading = self._reading
        if reading is None or reading.future.done():
            return
        framed = not reading.headers().keys().isdisjoint(("content-length", "transfer-encoding"))
        if exc is None and reading.in_body and not framed:
            self._finish(reading)  # the body of such an answer goes on until the end (RFC 9112 clause 6.3)
        else:
            stale = reading.octets == 0 and not self._fresh
            self._fail(reading, Stale() if stale else ConnectionError("a connection that broke"))

    def data_received(self, data: bytes) -> None:
        reading = self._reading
        if reading is None or reading.future.done():
            self.abort()  # octets that nobody asked for
            return
        reading.octets += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(reading, ValueError("an answer that is not HTTP/1.1"))
        if not reading.in_body and reading.octets > HEAD_MOST:
            self._fail(reading, ValueError("an answer with too many fields"))
        elif reading.octets > HEAD_MOST + AROUND_MOST * reading.limit:
            self._fail(reading, ValueError("an answer with too much around its body"))

    def on_header(self, name: bytes, value: bytes) -> None:
        reading = self._reading
        if reading is not None and not reading.in_body:  # else a trailer, which is not merged (RFC 9110 clause 6.5.1)
            reading.fields.append((name, value))

    def on_headers_complete(self) -> None:
        reading = self._reading
        if reading is not None:
            reading.in_body = True
            if reading.future.done():
                self.abort()  # a second answer to one request

    def on_body(self, piece: bytes) -> None:
        reading = self._reading
        if reading is not None:
            reading.body += piece
            if len(reading.body) > reading.limit:
                self._fail(reading, ValueError(f"an answer of more than {reading.limit} octets"))

    def on_message_complete(self) -> None:
        reading = self._reading
        if reading is None:
            return
        if self._parser.get_status_code() < 200:  # interim (RFC 9110 clause 15.2): the answer is still to come
            reading.fields.clear()
            reading.in_body = False
            return
        if not self._parser.should_keep_alive():
            self.abort()
        self._finish(reading)

    def _finish(self, reading: _Reading) -> None:
        if not reading.future.done():
            status = self._parser.get_status_code()
            reading.future.set_result(Answer(status, reading.headers(), bytes(reading.body)))

    @staticmethod
    def _fail(reading: _Reading, why: Exception) -> None:
        if not reading.future.done():
            reading.future.set_exception(why)


@lru_cache(maxsize=256)
def _request(url: str, fields: Fields) -> tuple[Origin, bytes]:
    """Where a request goes, and how it begins."""
    target = URL(url)
    if target.scheme not in ("http", "https") or target.user is not None or not target.host or target.port is None:
        raise ValueError("a URL that is not plain http or https")
    lines = [f"POST {target.raw_path_qs} HTTP/1.1", f"Host: {target.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if any(not line.isprintable() for line in lines):
        raise ValueError("a field with a control character")
    return (target.scheme, target.raw_host or target.host, target.port), "".join(
        f"{line}\r\n" for line in lines
    ).encode()
