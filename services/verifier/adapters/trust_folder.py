"""What the running service trusts: read from its folders, and read anew when something there changed."""

from __future__ import annotations

from pathlib import Path

from events.errors import Refused, Unavailable
from services.runtime.clock import Clock
from services.verifier.trust_store import AnchorSet, Trusted, plain_set, read_sets, trust_folder, trusted


class TrustFolders:
    """`anchors` is a folder of certificates, `store` a folder of named sets; either may be absent."""

    def __init__(self, anchors: Path | None, store: Path | None, clock: Clock) -> None:
        self._anchors = anchors
        self._store = store
        self._clock = clock
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._sets: tuple[AnchorSet, ...] = ()
        self._load()

    def now(self) -> Trusted:
        """What is trusted at this moment; stale sets are left out.

        Raises:
            Unavailable: something in the folders cannot be read any more. Nothing is judged by what was there before:
                it may have been taken out for a reason.
        """
        if self._marks() != self._seen:
            try:
                self._load()
            except (Refused, OSError) as fault:
                raise Unavailable(
                    "trust-store-unusable",
                    found=str(fault),
                    expected="anchor sets that can be read",
                    remedy="see antin trust list; it is tried again",
                ) from fault
        return trusted(self._sets, self._clock.now())

    def _load(self) -> None:
        """Raises Refused: a set that cannot be read, or no trusted certificate at all."""
        marks = self._marks()
        sets: tuple[AnchorSet, ...] = (plain_set(self._anchors),) if self._anchors is not None else ()
        if self._store is not None and trust_folder(self._store).is_dir():
            sets += read_sets(self._store)
        if not any(one.anchors for one in sets):
            raise Refused(
                "anchors-unusable",
                found="no trusted certificate",
                expected="a folder of anchors or a set of the trust store that holds one",
                remedy="set ANTIN_VERIFIER__ANCHORS, or add one with antin trust add",
            )
        self._seen, self._sets = marks, sets

    def _marks(self) -> tuple[tuple[str, int, int], ...]:
        """What tells that something changed: every file's path, time of change and size."""
        found = []
        for place in (self._anchors, self._store):
            for each in (place, *sorted(place.rglob("*"))) if place is not None and place.exists() else ():
                try:
                    state = each.stat()
                except OSError:
                    continue
                found.append((str(each), state.st_mtime_ns, state.st_size))
        return tuple(found)
