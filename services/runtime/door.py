"""The door of what anybody may call: each address so often and so many at once, and only so many altogether.

An address is a client's IPv4 address or IPv6 /64 network: whoever has one address of that network has all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from events.errors import Refused, Unavailable
from services.runtime.clock import Clock

Network = IPv4Network | IPv6Network


def rate(text: str) -> RateLimitItem:
    """A rate such as `30 per minute`.

    Raises:
        ValueError: it is not one.
    """
    return parse(text)


class Door:
    """Lets callers in by turns; a `services.runtime.web.Door`."""

    def __init__(self, often: str, places: int, each: int, clock: Clock, proxies: Sequence[Network] = ()) -> None:
        """`often`: calls of an address, as a moving window. `places`: calls inside at once, `each` of one address.

        `proxies`: networks of our own proxies; only what they say in X-Forwarded-For is believed.
        """
        self._often = rate(often)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._places, self._each, self._clock = places, each, clock
        self._proxies = tuple(proxies)
        self._inside: Counter[str] = Counter()

    @asynccontextmanager
    async def enter(self, peer: str, forwarded: Sequence[str]) -> AsyncIterator[None]:
        """Hold a place until the block ends.

        Raises:
            Refused: 429, this address calls too often or is inside too many times.
            Unavailable: every place is taken.
        """
        address = client(peer, forwarded, self._proxies)
        if not await self._limiter.hit(self._often, address):
            reset, _ = await self._limiter.get_window_stats(self._often, address)
            wait = min(max(reset - self._clock.now().timestamp(), 1.0), float(self._often.get_expiry()))
            raise _too_often(f"more than {self._often} from one address", f"at most {self._often}", wait)
        if self._inside[address] >= self._each:
            raise _too_often(f"{self._each} requests of one address at work", f"at most {self._each} at once", 5.0)
        if self._inside.total() >= self._places:
            raise Unavailable(
                "too-many-waiting",
                found="as many uploads waiting as may wait",
                expected="a free place",
                remedy="send it again in a few seconds",
                retry_after=5.0,
            )
        self._inside[address] += 1
        try:
            yield
        finally:
            self._inside[address] -= 1
            if not self._inside[address]:
                del self._inside[address]


def client(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The address that calls: the nearest one, going back from the peer, that is no proxy of ours."""
    chain = [part.strip() for line in forwarded for part in line.split(",")]
    found = peer
    while chain and _within(found, proxies):
        found = chain.pop()
    try:
        address = ip_address(found)
    except ValueError:
        return peer  # a proxy of ours that says nonsense is itself the caller
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)


def _within(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in networks)


def _too_often(found: str, expected: str, wait: float) -> Refused:
    return Refused(
        "too-many-requests",
        found=found,
        expected=expected,
        remedy="wait as long as Retry-After says",
        status=429,
        retry_after=wait,
    )
