"""The page tree from its last leaf backwards, or up to one page; its own counts are not believed."""

from __future__ import annotations

from collections.abc import Iterator

from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.syntax import Declined, Dictionary, Ref, integer, items, number, reference
from services.signer.adapters.geometry import Page
from services.signer.model import Box

MOST_PAGES = 20_000
DEEPEST = 60


class Leaf:
    """A page: where it is, what it holds, and the nodes of the tree that it hangs from, the root first."""

    __slots__ = ("above", "content", "ref")

    def __init__(self, ref: Ref, content: Dictionary, above: tuple[Dictionary, ...]) -> None:
        self.ref = ref
        self.content = content
        self.above = above

    def page(self, file: File) -> Page:
        """How it is displayed.

        Raises:
            Declined: a reference that leads nowhere.
        """
        return Page.of(
            self.ref.number,
            self.ref.generation,
            media=numbers(file, self._inherited(b"/MediaBox")),
            crop=numbers(file, self._inherited(b"/CropBox")),
            rotate=number(file.follow(self._inherited(b"/Rotate"))),
            unit=number(file.follow(self.content.get(b"/UserUnit"))),
        )

    def _inherited(self, key: bytes) -> bytes | None:
        """An attribute that a page has from the nearest node that has it (ISO 32000-2 table 31)."""
        nodes = (self.content, *reversed(self.above))
        return next((value for node in nodes if (value := node.get(key)) is not None), None)

    def taken(self, file: File) -> list[Box]:
        """Where the page shows annotations already, as displayed.

        Raises:
            Declined: an annotation that cannot be read.
        """
        boxes = []
        page = self.page(file)
        for item in file.array(self.content.get(b"/Annots")):
            annotation = file.dictionary(item)
            if annotation is not None:
                box = page.displayed(numbers(file, annotation.get(b"/Rect")))
                if box is not None:
                    boxes.append(box)
        return boxes


def numbers(file: File, text: bytes | None) -> tuple[float, ...] | None:
    """The numbers in an array; none where there is no array of numbers alone.

    Raises:
        Declined: a reference that leads nowhere.
    """
    text = file.follow(text)
    if text is None or text[:1] != b"[":
        return None
    found = [number(file.follow(one) if one.endswith(b"R") else one) for one in items(text)]
    return tuple(one for one in found if one is not None) if None not in found else None


def leaves(file: File, catalog: Dictionary, *, backwards: bool) -> Iterator[Leaf]:
    """The pages, from the last to the first or from the first to the last, each read when it is asked for.

    Raises:
        Declined: a tree that is a loop, too deep, too large, or has something else in it.
    """
    top = reference(catalog.get(b"/Pages"))
    if top is None:
        raise Declined("a catalog without pages")
    seen: set[int] = set()
    waiting: list[tuple[Ref, tuple[Dictionary, ...]]] = [(top, ())]
    while waiting:
        ref, above = waiting.pop()
        if len(above) > DEEPEST or ref.number in seen or len(seen) > 2 * MOST_PAGES:
            raise Declined("a page tree that is a loop, too deep or too large")
        seen.add(ref.number)
        node = file.read(ref)
        kids = node.get(b"/Kids")
        if kids is None:
            yield Leaf(ref, node, above)
            continue
        below = [reference(one) for one in file.array(kids)]
        here = (*above, node)
        waiting.extend((one, here) for one in (below if backwards else reversed(below)) if one is not None)


def page_number(file: File, catalog: Dictionary, wanted: int) -> Leaf | int:
    """The page of this number, the first being 1, or how many there are if there are fewer.

    Raises:
        Declined: as `leaves`.
    """
    count = 0
    for count, leaf in enumerate(leaves(file, catalog, backwards=False), 1):
        if count == wanted:
            return leaf
    return count


def last_page(file: File, catalog: Dictionary) -> Leaf:
    """The last page.

    Raises:
        Declined: as `leaves`, or there is none.
    """
    for leaf in leaves(file, catalog, backwards=True):
        return leaf
    raise Declined("no pages")


def permission(text: bytes | None) -> int:
    """The P of DocMDP parameters (ISO 32000-2 table 257): 2 where it is not said.

    Raises:
        Declined: not 1, 2 or 3.
    """
    found = 2 if text is None else integer(text)
    if found not in (1, 2, 3):
        raise Declined("permissions of an unknown kind")
    return found
