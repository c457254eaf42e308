# mypy: allow-untyped-calls
"""A PDF's pages as pyHanko reads them: the page tree walked safely."""

from __future__ import annotations

from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.rw_common import PdfHandler

from events.errors import Refused
from services.signer.adapters.geometry import Page

MOST_PAGES = 20_000
DEEPEST = 60
INHERITED = ("/MediaBox", "/CropBox", "/Rotate")


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
    return Page.of(
        ref.idnum,
        ref.generation,
        media=_numbers(inherited.get("/MediaBox")),
        crop=_numbers(inherited.get("/CropBox")),
        rotate=inherited.get("/Rotate"),
        unit=look(content, "/UserUnit"),
    )


def _numbers(value: Any) -> tuple[Any, ...] | None:
    try:
        return tuple(value[i] for i in range(4))
    except (TypeError, IndexError, KeyError, PdfError):
        return None


def _damaged(found: str) -> Refused:
    return Refused(
        "pdf-damaged",
        found=found,
        expected="a PDF whose pages can be listed",
        remedy="repair the file or make it anew from its source",
    )
