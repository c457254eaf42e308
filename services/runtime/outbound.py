"""HTTP to the outside, safe against being turned inside: no redirects, no proxies from the environment, no private
addresses but those an operator named, bounded answers.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Collection, Mapping
from typing import Any

import aiohttp
from yarl import URL

from events.errors import Unavailable
from services.runtime.connections import Answer, Connections, Fields

__all__ = ["Answer", "Forbidden", "Outbound"]

# Addresses that carry an IPv4 address in themselves, which a gateway may lead inside.
_EMBEDDING = (
    ipaddress.ip_network("::/96"),
    ipaddress.ip_network("2002::/16"),
    ipaddress.ip_network("64:ff9b::/96"),
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("2001::/32"),
)


class Forbidden(OSError):
    """The address is not one we may call."""


class Outbound:
    """The one way out. `allowed` names inner `host:port` pairs that may be called in spite of being private."""

    def __init__(self, *, allowed: Collection[str] = (), timeout: float = 10.0) -> None:
        self._allowed = frozenset(allowed)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._connections = Connections(self._check)

    async def __aenter__(self) -> Outbound:
        connector = aiohttp.TCPConnector(socket_factory=self._open, limit=50, ttl_dns_cache=10)
        self._session = aiohttp.ClientSession(
            connector=connector, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connections.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
        timeout: float | None = None,
        cut: bool = False,
    ) -> Answer:
        """One request. `document` is sent as JSON; `timeout` is in seconds.

        Answers above `limit` bytes are refused, or with `cut` only read that far.

        Raises:
            Unavailable: no URL, forbidden address, no connection, too slow, too large. The caller judges statuses.
        """
        if self._session is None:
            raise RuntimeError("Outbound is used outside its async with block")
        target = _target(url)
        if target.scheme not in ("http", "https") or target.user is not None:
            raise _unavailable(target, "a URL that is not plain http or https")
        sent = dict(headers or {})
        if document is not None:
            body = json.dumps(document, ensure_ascii=False).encode()
            sent.setdefault("Content-Type", "application/json")
        sent.setdefault("Accept-Encoding", "identity")
        try:
            async with self._session.request(
                method,
                target,
                data=body,
                headers=sent,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout or self._timeout),
            ) as reply:
                found = bytearray()
                async for piece in reply.content.iter_chunked(64 * 1024):
                    found += piece
                    if len(found) > limit and cut:
                        del found[limit:]
                        reply.close()
                        break
                    if len(found) > limit:
                        raise _unavailable(target, f"an answer of more than {limit} bytes")
                # Of a field that is said twice the first counts.
                named = {name.lower(): value for name, value in reversed(tuple(reply.headers.items()))}
                return Answer(reply.status, named, bytes(found))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            raise _unavailable(target, f"no usable answer ({type(fault).__name__})") from fault

    async def post(self, url: str, body: bytes, fields: Fields, *, limit: int, timeout: float) -> Answer:
        """A request that is safe to repeat, over a persistent connection, for what is asked at every signature.

        `limit` is in octets, `timeout` in seconds.

        Raises:
            Unavailable: as `call`.
        """
        try:
            return await self._connections.post(url, body, fields, limit=limit, timeout=timeout)
        except (TimeoutError, OSError, ValueError) as fault:
            raise _unavailable(_target(url), f"no usable answer ({type(fault).__name__})") from fault

    def _open(self, found: Any) -> socket.socket:
        """Called with the resolved address, after DNS: what is checked is what is connected to."""
        family, kind, protocol, _, address = found
        self._check(address)
        return socket.socket(family, kind, protocol)

    def allows(self, host: str, port: int) -> bool:
        """Whether an operator named this address; always false for names, which are judged once resolved."""
        ip = _literal(host)
        return ip is not None and f"{ip}:{port}" in self._allowed

    def forbids(self, host: str, port: int) -> bool:
        """Whether this address is sure to be refused; false for names, which are judged once resolved."""
        ip = _literal(host)
        return ip is not None and not self.allows(host, port) and _inside(ip)

    def _check(self, address: tuple[Any, ...]) -> None:
        if self.forbids(str(address[0]), int(address[1])):
            raise Forbidden("an address inside that no operator allowed")


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return None
    return ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None else ip


def _inside(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and (ip.is_site_local or any(ip in network for network in _EMBEDDING)):
        return True
    return not ip.is_global or ip.is_multicast


def _target(url: str) -> URL:
    """The address; it may have come from a certificate, where anything can stand."""
    try:
        return URL(url)
    except ValueError as fault:
        raise Unavailable(
            "outside-unavailable",
            found="an address that cannot be read",
            expected="an http or https URL",
            remedy="correct it where it was set; if it stands in a certificate, tell its CA",
        ) from fault


def _unavailable(target: URL, found: str) -> Unavailable:
    return Unavailable(
        "outside-unavailable",
        found=f"{found} from {target.host}:{target.port}",
        expected="an answer in time, of bounded size, from an allowed address",
        remedy="it is tried again; an inner address must be named in ANTIN_OUTSIDE__ALLOW",
    )
