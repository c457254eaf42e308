"""Merkle trees over digests, so that one approval can carry many signatures and each can be proven against it.

RFC 9162 clause 2.1: SHA-256, a leaf is hashed behind 0x00 and a node behind 0x01, so neither can pass for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from events.values import Digest


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Proof that a leaf stands at `index` (from 0) in a tree of `count` leaves; `path` from the leaf's sibling up."""

    index: int
    count: int
    path: tuple[Digest, ...]

    def leads(self, leaf: bytes, root: Digest) -> bool:
        """Whether the leaf's octets and this path give the root (RFC 9162 clause 2.1.3.2)."""
        if not 0 <= self.index < self.count:
            return False
        place, last = self.index, self.count - 1
        found = _leaf(leaf)
        for sibling in self.path:
            if last == 0:
                return False
            if place & 1 or place == last:
                found = _node(sibling.raw, found)
                while not place & 1 and place:
                    place, last = place >> 1, last >> 1
            else:
                found = _node(found, sibling.raw)
            place, last = place >> 1, last >> 1
        return last == 0 and found == root.raw


class Tree:
    """The tree over some leaves (octets each), kept level by level: 64 octets a leaf.

    Raises:
        ValueError: no leaves.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves:
            raise ValueError("a Merkle tree needs a leaf")
        self.count = len(leaves)
        self._levels = [[_leaf(leaf) for leaf in leaves]]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            above = [_node(below[n], below[n + 1]) for n in range(0, len(below) - 1, 2)]
            # An odd one out goes up as it is: for RFC 9162's split at the largest power of two, that is the same tree.
            self._levels.append(above + below[len(above) * 2 :])

    @property
    def root(self) -> Digest:
        """The tree's head."""
        return Digest.from_raw(self._levels[-1][0])

    def proof(self, index: int) -> Inclusion:
        """The proof for the leaf at `index` (RFC 9162 clause 2.1.3.1).

        Raises:
            IndexError: no such leaf.
        """
        if not 0 <= index < self.count:
            raise IndexError("no such leaf")
        path: list[Digest] = []
        place = index
        for level in self._levels[:-1]:
            sibling = place ^ 1
            if sibling < len(level):
                path.append(Digest.from_raw(level[sibling]))
            place >>= 1
        return Inclusion(index, self.count, tuple(path))


def _leaf(octets: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + octets).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
