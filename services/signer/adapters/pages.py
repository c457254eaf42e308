# mypy: allow-untyped-calls
"""A PDF's pages as they are displayed: the page tree walked safely, boxes and rotation turned into one geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.rw_common import PdfHandler

from events.errors import Refused
from services.signer.model import Box

MOST_PAGES = 20_000
DEEPEST = 60
INHERITED = ("/MediaBox", "/CropBox", "/Rotate")
A4 = (0.0, 0.0, 595.276, 841.89)


@dataclass(frozen=True)
class Page:
    """One page: its reference, the visible box in its own units, its rotation in degrees and its unit in points."""

    ref: generic.Reference
    left: float
    bottom: float
    right: float
    top: float
    rotation: int
    unit: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points, as displayed."""
        wide, high = (self.right - self.left) * self.unit, (self.top - self.bottom) * self.unit
        return (high, wide) if self.rotation in (90, 270) else (wide, high)

    def place(self, box: Box) -> tuple[float, float, float, float]:
        """The displayed box as a rectangle in the page's own units: left, bottom, right, top."""
        x, y, w, h = (value / self.unit for value in (box.x, box.y, box.width, box.height))
        match self.rotation:
            case 90:
                left, bottom, w, h = self.right - y - h, self.bottom + x, h, w
            case 180:
                left, bottom = self.right - x - w, self.top - y - h
            case 270:
                left, bottom, w, h = self.left + y, self.top - x - w, h, w
            case _:
                left, bottom = self.left + x, self.bottom + y
        return left, bottom, left + w, bottom + h

    def displayed(self, rect: Any) -> Box | None:
        """A rectangle in the page's own units as a displayed box; none when it is no rectangle or has no area."""
        found = _box(rect)
        if found is None:
            return None
        left, bottom, right, top = found
        match self.rotation:
            case 90:
                x, y, w, h = bottom - self.bottom, self.right - right, top - bottom, right - left
            case 180:
                x, y, w, h = self.right - right, self.top - top, right - left, top - bottom
            case 270:
                x, y, w, h = self.top - top, left - self.left, top - bottom, right - left
            case _:
                x, y, w, h = left - self.left, bottom - self.bottom, right - left, top - bottom
        return Box(*(value * self.unit for value in (x, y, w, h)))

    @property
    def matrix(self) -> tuple[int, int, int, int, int, int]:
        """What turns a drawing so that it stands upright on the displayed page."""
        return {0: (1, 0, 0, 1, 0, 0), 90: (0, 1, -1, 0, 0, 0), 180: (-1, 0, 0, -1, 0, 0), 270: (0, -1, 1, 0, 0, 0)}[
            self.rotation
        ]


def look(container: Any, key: str, default: Any = None) -> Any:
    """What a PDF dictionary holds under a key, references followed; null counts as absent."""
    try:
        found = container[key]
    except KeyError:
        return default
    return default if isinstance(found, generic.NullObject) else found


def pages_of(handler: PdfHandler) -> list[Page]:
    """Every page in order; the tree's own counts are not believed.

    Raises:
        Refused: there is no page, or the tree is a loop, too deep or too large.
    """
    found: list[Page] = []
    seen: set[tuple[int, int]] = set()
    try:
        top = handler.root.raw_get("/Pages")
    except KeyError:
        top = None
    waiting: list[tuple[Any, dict[str, Any], int]] = [(top, {}, 0)]
    while waiting:
        node, inherited, depth = waiting.pop()
        if not isinstance(node, generic.IndirectObject):
            continue
        mark = (node.idnum, node.generation)
        if depth > DEEPEST or len(found) >= MOST_PAGES:
            raise _damaged("a page tree that is too deep or too large")
        if mark in seen:
            raise _damaged("a page tree in which a node comes twice")
        seen.add(mark)
        content = node.get_object()
        if not isinstance(content, generic.DictionaryObject):
            continue
        here = inherited | {key: content[key] for key in INHERITED if key in content}
        if "/Kids" in content:
            kids = content["/Kids"]
            if isinstance(kids, generic.ArrayObject):
                waiting.extend((kids.raw_get(i), here, depth + 1) for i in reversed(range(len(kids))))
        else:
            found.append(_page(node.reference, content, here))
    if not found:
        raise Refused(
            "pdf-no-pages",
            found="a PDF without pages",
            expected="at least one page",
            remedy="make the PDF anew from its source",
        )
    return found


def _page(ref: generic.Reference, content: generic.DictionaryObject, inherited: dict[str, Any]) -> Page:
    media = _box(inherited.get("/MediaBox")) or A4
    crop = _box(inherited.get("/CropBox")) or media
    left, bottom = max(media[0], crop[0]), max(media[1], crop[1])
    right, top = min(media[2], crop[2]), min(media[3], crop[3])
    if right - left <= 0 or top - bottom <= 0:
        left, bottom, right, top = media
    try:
        rotation = round(float(inherited.get("/Rotate", 0)) / 90) * 90 % 360
        unit = float(look(content, "/UserUnit", 1))
    except (TypeError, ValueError):
        rotation, unit = 0, 1.0
    return Page(ref, left, bottom, right, top, rotation, unit if 0 < unit < 1000 else 1.0)


def _box(value: Any) -> tuple[float, float, float, float] | None:
    try:
        x0, y0, x1, y1 = (float(value[i]) for i in range(4))
    except (TypeError, ValueError, IndexError, KeyError, PdfError):
        return None
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return box if box[2] > box[0] and box[3] > box[1] else None


def _damaged(found: str) -> Refused:
    return Refused(
        "pdf-damaged",
        found=found,
        expected="a PDF whose pages can be listed",
        remedy="repair the file or make it anew from its source",
    )
