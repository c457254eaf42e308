"""RFC 3161 clients that fail closed, of one authority or several in order: only a token that was checked comes out."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cryptography import x509

from events.errors import Unavailable
from events.values import Digest
from services.runtime.clock import Clock
from services.runtime.outbound import Outbound
from services.signer.adapters import der
from services.signer.adapters.fetching import ask
from services.signer.adapters.tokens import TokenChecker, bad
from services.signer.model import Token
from services.signer.ports import TimestampAuthority

log = structlog.get_logger()

ROOM = 9_000
"""Octets reserved for a token of unknown length: one with three RSA certificates has about 6,000."""
MORE = 500
"""Octets by which an authority's tokens may differ in length."""

_IMPRINT = bytes.fromhex("3031300d060960864801650304020105000420")
"""MessageImprint of SHA-256 up to its 32 octets."""


class Rfc3161Authority:
    """A `TimestampAuthority` behind one HTTP address.

    `anchors` are the roots its path must end at; `pool` offers issuers that tokens leave out; `skew` is how far its
    time may lie from ours; `timeout` is in seconds; `limit` in octets. It asks once: retrying is the caller's.
    """

    def __init__(
        self,
        outbound: Outbound,
        url: str,
        anchors: Sequence[x509.Certificate],
        clock: Clock,
        *,
        pool: Sequence[x509.Certificate] = (),
        skew: timedelta = timedelta(seconds=60),
        timeout: float = 5.0,
        limit: int = 64_000,
    ) -> None:
        self._outbound = outbound
        self._url = url
        self._checker = TokenChecker(anchors, pool, skew)
        self._clock = clock
        self._timeout = timeout
        self._limit = limit
        self._largest = 0

    def room(self, *, steady: bool) -> int:
        """Octets to reserve for a token: enough for the largest seen, and some."""
        seen = self._largest + MORE
        return max(seen, ROOM) if steady or not self._largest else seen

    async def timestamp(self, digest: Digest) -> Token:
        """A checked token over the digest.

        Raises:
            Unavailable: no answer in time, a refusal, or an answer that does not stand up to checking.
        """
        nonce = secrets.randbits(63) | (1 << 62)
        body, kind = await ask(
            self._outbound,
            self._url,
            request(digest, nonce),
            what="timestamp authority",
            code="timestamp-authority",
            content_type="application/timestamp-query",
            accept="application/timestamp-reply",
            timeout=self._timeout,
            limit=self._limit,
        )
        if kind != "application/timestamp-reply":
            raise bad("timestamp-media-type", f"an answer of type {kind[:60]!r}", "application/timestamp-reply")
        token = self._checker.check(body, digest=digest, nonce=nonce, now=self._clock.now())
        self._largest = max(self._largest, len(token.der))
        return token


Vouch = Callable[[tuple[bytes, ...]], Awaitable[object]]
"""Raises Unavailable unless every certificate of an authority's path is in good standing."""


@dataclass
class _Health:
    """How an authority has done: failures in a row, and until when it is passed over."""

    failures: int = 0
    until: datetime | None = None


class OrderedAuthorities:
    """A `TimestampAuthority` over several in the operator's order: the first that is well is asked.

    One that fails is passed over for a pause of 5 s, doubling up to 5 minutes; then a single request tries it again.
    While all are passed over, they are asked all the same, first the one whose pause ends first. There is no local
    clock to fall back to: when none answers, there is no time. `vouch` looks at the standing of their certificates.
    """

    def __init__(self, authorities: Sequence[TimestampAuthority], clock: Clock, vouch: Vouch) -> None:
        if not authorities:
            raise ValueError("no timestamp authority")
        self._authorities = tuple(authorities)
        self._last = self._authorities[0]
        self._health = tuple(_Health() for _ in authorities)
        self._clock = clock
        self._vouch = vouch

    def room(self, *, steady: bool) -> int:
        """Octets to reserve for a token: of any of them if `steady`, else of the one that gave the last."""
        if steady:
            return max(one.room(steady=True) for one in self._authorities)
        return self._last.room(steady=False)

    async def timestamp(self, digest: Digest) -> Token:
        """A checked token over the digest, by the first authority that gives one.

        Raises:
            Unavailable: none of them did; the fault is the last one's.
        """
        last: Unavailable | None = None
        for place in self._order():
            health = self._health[place]
            if health.failures:  # one request finds out whether it is well again; the others go on to the next
                health.until = self._clock.now() + _pause(health.failures)
            try:
                token = await self._authorities[place].timestamp(digest)
                await self._vouch(token.path)
            except Unavailable as fault:
                health.failures += 1
                health.until = self._clock.now() + _pause(health.failures)
                log.warning("timestamp-authority-failed", place=place + 1, code=fault.code, failures=health.failures)
                last = fault
                continue
            if health.failures:
                log.info("timestamp-authority-back", place=place + 1)
            health.failures, health.until = 0, None
            self._last = self._authorities[place]
            return token
        raise last or ValueError("no timestamp authority")

    def _order(self) -> list[int]:
        now = self._clock.now()
        waits = [
            (health.until, place) for place, health in enumerate(self._health) if health.until and now < health.until
        ]
        resting = {place for _, place in waits}
        well = [place for place in range(len(self._authorities)) if place not in resting]
        return well or [place for _, place in sorted(waits)]


def _pause(failures: int) -> timedelta:
    return timedelta(seconds=min(5 * 2 ** min(failures - 1, 10), 300))


def request(digest: Digest, nonce: int) -> bytes:
    """A TimeStampReq (DER): SHA-256, a nonce, the certificate wanted (RFC 3161 clause 2.4.1)."""
    return der.tlv(der.SEQUENCE, b"\x02\x01\x01", _IMPRINT, digest.raw, der.integer(nonce), b"\x01\x01\xff")
