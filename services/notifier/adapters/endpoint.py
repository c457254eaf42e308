"""Posts to a subscriber through the guarded way out, and says beforehand which URLs it would take."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from events.errors import Refused, Unavailable
from services.notifier.model import Answer, retry_after
from services.runtime.clock import Clock
from services.runtime.outbound import Outbound

_ENOUGH = 16 * 1024
"""Of an answer only the status and Retry-After count; of its body no more than this is read."""


class HttpEndpoint:
    """Somebody's webhook URL (services.notifier.ports.Endpoint)."""

    def __init__(self, outbound: Outbound, clock: Clock, timeout: float) -> None:
        self._outbound = outbound
        self._clock = clock
        self._timeout = timeout

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One attempt; never raises for what the other side does."""
        try:
            found = await self._outbound.call(
                "POST",
                url,
                body=body,
                headers={"User-Agent": "antin-webhooks/1", **headers},
                limit=_ENOUGH,
                timeout=self._timeout,
                cut=True,
            )
        except Unavailable as fault:
            return Answer(None, fault.found)
        asked = found.headers.get("retry-after")
        return Answer(found.status, f"status {found.status}", retry_after(asked, self._clock.now()))


def check_url(url: str, outbound: Outbound) -> None:
    """Refuse a URL that could never be delivered to; names are checked again, resolved, at every attempt.

    Raises:
        Refused: not https, carries a user or a fragment, or names an inner address no operator allowed.
    """
    try:
        target = URL(url)
        host, port = target.host, target.port
    except ValueError:
        raise _refused("a URL that cannot be read") from None
    if not host or port is None or len(url) > 2048 or target.scheme not in ("https", "http"):
        raise _refused("something that is no https URL")
    if target.user is not None or target.password is not None or target.fragment:
        raise _refused("a URL with a user, a password or a fragment")
    if outbound.allows(host, port):
        return
    if target.scheme != "https":
        raise _refused("a URL without TLS")
    if outbound.forbids(host, port):
        raise _refused("an inner address that no operator allowed")


def _refused(found: str) -> Refused:
    return Refused(
        "webhook-url-refused",
        found=found,
        expected="https://host[:port]/path to a public address",
        remedy="use https; an operator may name inner addresses as address:port in ANTIN_OUTSIDE__ALLOW",
    )
