"""Counts wrong guesses at secrets and codes, and turns away who guesses too often (RFC 6749 clauses 2.3.1, 10.10)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.errors import Refused
from services.runtime.clock import Clock

WINDOW = timedelta(minutes=10)
OF_ADDRESS = 10
"""Wrong tries of one address in the window."""
OF_CLIENT = 100
"""Wrong tries at one client in the window, from all addresses: more than one address has, so that none of them alone
can keep the client out."""
PROVEN = timedelta(days=1)
"""How long an address is known as one of the client's own after the client showed its secret from there."""
MOST_NAMES = 100_000
"""Names that are remembered; beyond them the one that was counted longest ago is forgotten."""


class Window:
    """What happened to whom lately: a moving window in the memory of this process, as at `services.runtime.door`."""

    def __init__(self, most: int, length: timedelta, clock: Clock) -> None:
        """`most`: so many times within `length` a name may be counted before it has to wait."""
        self._most, self._length, self._clock = most, length, clock
        self._times: OrderedDict[str, deque[datetime]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Seconds until the name has fewer than `most` in the window; 0 where it has."""
        times = self._times.get(name)
        if times is None or len(times) < self._most:
            return 0.0
        return max((times[0] + self._length - self._clock.now()).total_seconds(), 0.0)

    def count(self, name: str) -> None:
        """Once more."""
        now = self._clock.now()
        self._times.setdefault(name, deque(maxlen=self._most)).append(now)
        self._times.move_to_end(name)
        while len(self._times) > MOST_NAMES or next(iter(self._times.values()))[-1] <= now - self._length:
            self._times.popitem(last=False)


@dataclass(frozen=True)
class Tries:
    """Tries that count together, each window with the name they have in it."""

    bounds: tuple[tuple[Window, str], ...]

    def admit(self) -> None:
        """Let one more try in.

        Raises:
            Refused: 429, there were too many wrong ones.
        """
        wait = max(window.wait(name) for window, name in self.bounds)
        if wait > 0:
            raise Refused(
                "too-many-guesses",
                found="too many wrong client secrets, codes or code verifiers",
                expected=f"at most {OF_ADDRESS} of one address and {OF_CLIENT} at one client in {WINDOW}",
                remedy="wait as long as Retry-After says",
                status=429,
                retry_after=wait,
            )

    def wrong(self) -> None:
        """Count a wrong one."""
        for window, name in self.bounds:
            window.count(name)


class Guesses:
    """Knows which tries count together. Whether a client of that name exists makes no difference here.

    Who guesses must not be able to keep a client out: from an address where the client has shown its secret lately,
    only the wrong tries from there at that client count.
    """

    def __init__(self, clock: Clock) -> None:
        self._few = Window(OF_ADDRESS, WINDOW, clock)
        self._many = Window(OF_CLIENT, WINDOW, clock)
        self._proven = Window(1, PROVEN, clock)

    def at_secret(self, client: str, address: str) -> Tries:
        """Tries at a client's secret. `client` as it was sent, `address` as `services.runtime.door.client` has it."""
        name = _name(client)
        pair = f"{name} {address}"
        if self._proven.wait(pair) > 0:
            return Tries(((self._few, pair),))
        return Tries(((self._few, address), (self._many, name)))

    def proven(self, client: str, address: str) -> None:
        """The client has shown its secret."""
        self._proven.count(f"{_name(client)} {address}")

    def of_address(self, address: str) -> Tries:
        """All tries of an address that has shown no secret."""
        return Tries(((self._few, address),))

    def at_code(self, client: str, address: str | None) -> Tries:
        """Tries at codes and their verifiers. `address`: of an app; none where the client has shown its secret, for
        then wrong codes are those of its users."""
        name = _name(client)
        if address is None:
            return Tries(((self._many, f"{name} codes"),))
        return Tries(((self._few, address), (self._many, name)))


def _name(client: str) -> str:
    """Of one length, whatever was sent."""
    return hashlib.sha256(client.encode("utf-8", "surrogateescape")).hexdigest()
