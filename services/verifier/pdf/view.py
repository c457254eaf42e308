"""One revision of a document as a reader sees it: its page tree, its annotations, its form, and what they lean on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from services.verifier.pdf.document import Field, fields
from services.verifier.pdf.objects import File, Place
from services.verifier.pdf.syntax import Ref, Stream, Value

MOST_STEPS = 4_000_000
"""More values than this are not looked at for one file, all its revisions together."""
MOST_PAGES = 50_000
MOST_TREE = 64
FREE_IN_CATALOG = frozenset({"DSS", "Metadata", "Extensions", "AcroForm", "MarkInfo", "Version", "Pages"})
"""Entries of the catalog that have a rule of their own, or none because nothing of them is shown."""
FREE_IN_TRAILER = frozenset(
    "Root Info Prev Encrypt ID Size XRefStm Type W Index Length Filter DecodeParms AdditionalStreams "
    "DocChecksum".split()
)
"""The standard's entries, and two of a producer that may name objects which nothing defines yet."""
FREE_IN_PAGE = frozenset({"Annots", "Kids", "LastModified", "Metadata", "Tabs"})
NODE_ENTRIES = frozenset({"Type", "Parent", "Count", "Resources", "MediaBox", "CropBox", "Rotate"})
"""Entries of a page tree node that mean something: its own, and those that pages inherit."""
FREE_IN_FIELD = frozenset({"V", "AP", "Kids", "Parent"})


class Endless(Exception):
    """The document is so large or so deep that comparing its revisions would not end in time."""


class Steps:
    """How much comparing one file may still cost."""

    def __init__(self, most: int = MOST_STEPS) -> None:
        self.left = most

    def take(self, count: int = 1) -> None:
        """Count what is looked at.

        Raises:
            Endless: the limit is reached.
        """
        self.left -= count
        if self.left < 0:
            raise Endless


@dataclass(frozen=True)
class Node:
    """A node of the page tree, or a page."""

    number: int | None
    dictionary: dict[str, Value]
    path: tuple[int, ...]
    leaf: bool


@dataclass(frozen=True)
class Annotation:
    """One entry of a page's `/Annots`."""

    number: int | None
    dictionary: dict[str, Value]


class View:
    """The document as it stood after one revision."""

    def __init__(self, file: File, revision: int, steps: Steps) -> None:
        self.file = file
        self.steps = steps
        self.revision = revision
        catalog = file.catalog(revision)
        self.catalog: dict[str, Value] = catalog if isinstance(catalog, dict) else {}

    def get(self, value: Value) -> Value:
        """The value, or what it refers to."""
        return self.file.get(value, self.revision)

    def place(self, number: int) -> Place | None:
        """Where an object lies."""
        return self.file.place(number, self.revision)

    def object(self, number: int) -> Value:
        """The object of a number."""
        return self.file.get(Ref(number, 0), self.revision)

    @cached_property
    def form(self) -> dict[str, Value]:
        """The AcroForm dictionary; empty when there is none."""
        form = self.get(self.catalog.get("AcroForm"))
        return form if isinstance(form, dict) else {}

    @cached_property
    def extras(self) -> dict[str, Value]:
        """Entries of the trailer that the standard does not know."""
        trailer = self.file.trailer(self.revision)
        return {key: each for key, each in trailer.items() if key not in FREE_IN_TRAILER}

    @cached_property
    def fonts(self) -> Value:
        """The fonts of the form's default resources."""
        resources = self.get(self.form.get("DR"))
        return self.get(resources.get("Font")) if isinstance(resources, dict) else None

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The page tree, parents first, in order; each object once. Raises Endless beyond the limits."""
        found: list[Node] = []
        seen: set[int] = set()
        stack: list[tuple[Value, tuple[int, ...]]] = [(self.catalog.get("Pages"), ())]
        while stack:
            raw, path = stack.pop()
            self.steps.take()
            if len(found) >= MOST_PAGES or len(path) > MOST_TREE:
                raise Endless
            number = raw.number if isinstance(raw, Ref) else None
            if number is not None:
                if number in seen:
                    continue
                seen.add(number)
            node = self.get(raw)
            if not isinstance(node, dict):
                continue
            kids = self.get(node.get("Kids"))
            found.append(Node(number, node, path, not isinstance(kids, list)))
            if isinstance(kids, list):
                if len(kids) > MOST_PAGES:
                    raise Endless
                stack.extend((kids[index], (*path, index)) for index in range(len(kids) - 1, -1, -1))
        return tuple(found)

    @cached_property
    def pages(self) -> tuple[Node, ...]:
        """The pages in order."""
        return tuple(node for node in self.nodes if node.leaf)

    @cached_property
    def annotations(self) -> tuple[tuple[Annotation, ...], ...]:
        """The annotations of each page, in order. Raises Endless beyond the limits."""
        result: list[tuple[Annotation, ...]] = []
        for page in self.pages:
            listed = self.get(page.dictionary.get("Annots"))
            here: list[Annotation] = []
            for raw in listed if isinstance(listed, list) else ():
                self.steps.take()
                entry = self.get(raw)
                if entry is None:
                    continue
                if isinstance(entry, dict):
                    here.append(Annotation(raw.number if isinstance(raw, Ref) else None, entry))
                else:  # nothing of the kind is an annotation to the standard, but a reader may think otherwise
                    here.append(Annotation(None, {"Contents": raw}))
            result.append(tuple(here))
        return tuple(result)

    @cached_property
    def page_of(self) -> dict[int, int]:
        """The page, from 1, on which an annotation of this object number stands."""
        return {
            one.number: index
            for index, page in enumerate(self.annotations, start=1)
            for one in page
            if one.number is not None
        }

    @cached_property
    def fields(self) -> dict[tuple[str, int], Field]:
        """The nodes of the form by their fully qualified names, told apart by a count where they share one.

        Raises:
            Unreadable: there are more fields than the limit.
        """
        result: dict[tuple[str, int], Field] = {}
        times: dict[str, int] = {}
        for field in fields(self.file, self.revision):
            name = field.name if field.named else f"{field.name}\0"
            turn = times.get(name, 0)
            times[name] = turn + 1
            result[(name, turn)] = field
        return result

    @cached_property
    def field_numbers(self) -> dict[int, tuple[str, int]]:
        """The key in `fields` of an object number."""
        return {field.number: key for key, field in self.fields.items() if field.number is not None}

    def references(self, number: int) -> tuple[int, ...]:
        """The numbers to which an object refers."""
        place = self.place(number)
        if place is None:
            return ()
        known, key = self.file.links, (place, number)
        if key not in known:
            known[key] = tuple(references_in(self.file.at(place, number, self.revision)))
        return known[key]

    @cached_property
    def bearers(self) -> frozenset[int]:
        """Objects that have a rule of their own: catalog, page tree, form, fields and annotations."""
        found = {node.number for node in self.nodes}
        found |= {one.number for page in self.annotations for one in page}
        found |= {field.number for field in self.fields.values()}
        for raw in (self.file.trailer(self.revision).get("Root"), self.catalog.get("AcroForm")):
            if isinstance(raw, Ref) and isinstance(self.get(raw), dict):
                found.add(raw.number)
        return frozenset(number for number in found if number is not None)

    @cached_property
    def tree(self) -> frozenset[int]:
        """The objects of the page tree."""
        return frozenset(node.number for node in self.nodes if node.number is not None)

    @cached_property
    def content(self) -> frozenset[int]:
        """Every object, also such as are not defined, on which what is shown leans outside of form values."""
        shown: list[int] = []
        for node in self.nodes:
            shown += references_in({key: each for key, each in node.dictionary.items() if key not in FREE_IN_PAGE})
        roots: list[int] = []
        roots += references_in({key: each for key, each in self.catalog.items() if key not in FREE_IN_CATALOG})
        roots += references_in(self.extras)
        roots += references_in({key: each for key, each in self.form.items() if key not in ("Fields", "DR")})
        roots += references_in(self.fonts)
        for page in self.annotations:
            for one in page:
                if one.number is None or one.number not in self.field_numbers:
                    roots += references_in(one.dictionary)
        for field in self.fields.values():
            roots += references_in({key: each for key, each in field.dictionary.items() if key not in FREE_IN_FIELD})
        # What a page draws with is content, even where it plays the annotation or the field as well.
        return self._closure(shown, self.tree) | self._closure(roots, self.bearers)

    @cached_property
    def filling(self) -> frozenset[int]:
        """Every object on which values and appearances of form fields lean."""
        roots: list[int] = []
        for field in self.fields.values():
            roots += references_in([field.dictionary.get("V"), field.dictionary.get("AP")])
        return self._closure(roots, self.bearers)

    def _closure(self, roots: Iterable[int], borders: frozenset[int]) -> frozenset[int]:
        """All that is reached, without a look inside the borders."""
        seen: set[int] = set()
        stack = list(roots)
        while stack:
            number = stack.pop()
            if number in seen or number in borders:
                continue
            seen.add(number)
            self.steps.take()
            stack.extend(self.references(number))
        return frozenset(seen)


def references_in(value: Value) -> Iterator[int]:
    """The numbers to which a value refers, also from deep inside."""
    stack = [value]
    while stack:
        one = stack.pop()
        if type(one) is Ref:
            yield one.number
        elif isinstance(one, dict):
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)
        elif isinstance(one, Stream):
            stack.append(one.dictionary)
