"""What a document looks like, as drawn by the sandbox: pages as images, and what differs between two of its states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from services.verifier.model import FileReport, Frozen

STATES = 6
"""States of a document that are compared, at most."""


class Frame(Frozen):
    """A changed region, in thousandths of the page's width and height, from its upper left corner."""

    left: int
    top: int
    width: int
    height: int


class PageImage(Frozen):
    """One page as drawn."""

    page: int
    """From 1."""
    width: int
    """Pixels."""
    height: int
    image: str
    """WebP, base64."""


class PageChange(Frozen):
    """A page that looks different in a later state."""

    page: int
    kind: Literal["changed", "added", "removed"]
    before: PageImage | None = None
    after: PageImage | None = None
    frames: tuple[Frame, ...] = ()
    closer: tuple[PageImage, PageImage] | None = None
    """The same part of both, large enough to be read, where the frames take little of the page."""


class Step(Frozen):
    """From one state of the document to a later one; a state is the file's first so many octets."""

    earlier: int
    later: int
    pages: tuple[PageChange, ...] = ()
    comparable: bool = True
    """Both states could be drawn."""


class Pictures(Frozen):
    """The document as it looks now, and the visible changes between what each signer signed and what came after."""

    pages: int = 0
    """Pages of the document as it is now."""
    images: tuple[PageImage, ...] = ()
    """The first of them."""
    steps: tuple[Step, ...] = ()
    compared: int = 0
    """So many pages of each state were compared."""
    cut: bool = False
    """Time or room was not enough for everything."""
    fault: str | None = None
    """A kebab-case reason why nothing could be drawn."""


def states(report: FileReport) -> tuple[int, ...]:
    """The states worth comparing, as sizes in octets: what each signer signed, oldest first; the last is the file."""
    size = report.size or 0
    ends = {one.signed_octets for one in report.signatures if one.signed_octets and 0 < one.signed_octets < size}
    return fewer((*sorted(ends), size))


def fewer(ends: Sequence[int]) -> tuple[int, ...]:
    """At most `STATES`: the oldest and the newest."""
    return tuple(ends) if len(ends) <= STATES else (ends[0], *ends[1 - STATES :])
