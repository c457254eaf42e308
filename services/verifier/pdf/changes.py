"""What later revisions did after a signature, whether it may be, and why not (ISO 32000-2 clause 12.8.2).

Two revisions are compared over all that can be reached from catalog and Info: everything must mean the same, but for
what may follow a signature. Objects that nothing refers to are not shown and are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from services.verifier.model import LaterChange
from services.verifier.pdf.document import Document, FieldLock, SignatureValue
from services.verifier.pdf.equality import Pair
from services.verifier.pdf.forms import Change, Forms, Level
from services.verifier.pdf.syntax import Misformed, Name, Ref, Stream, Value
from services.verifier.pdf.tagging import grown_only
from services.verifier.pdf.view import (
    FREE_IN_CATALOG,
    FREE_IN_PAGE,
    NODE_ENTRIES,
    Annotation,
    Endless,
    Node,
    Steps,
    View,
)

_PACKET = (b"xmpmeta", b"xapmeta", b"rdf:RDF")
_ENTITIES = (b"<!DOCTYPE", b"<!ENTITY")
MOST_CHANGES = 60
"""More changes than this per signature are not listed."""


@dataclass(frozen=True)
class Comparison:
    """The changes after one signature, and whether all of them are permitted."""

    changes: tuple[LaterChange, ...]
    allowed: bool
    why: str | None = None
    """A kebab-case name of the first thing that is not permitted."""


def after(document: Document, signature: SignatureValue) -> Comparison:
    """Every revision after the one that was signed, under the restrictions that the signature states.

    Raises:
        Unreadable: the form is beyond the limits.
    """
    if signature.revision is None:
        blind = LaterChange(revision=document.latest, what="not-analysable", allowed=False)
        return Comparison((blind,), False, "not-proven-harmless")
    return _compare(document, signature.revision, Rules(signature.doc_mdp, signature.field_mdp))


def since(document: Document, revision: int) -> Comparison:
    """Every revision after this one, as if an approval signature without restrictions stood there.

    Raises:
        Unreadable: the form is beyond the limits.
    """
    return _compare(document, revision, Rules(None, None))


@dataclass(frozen=True)
class Rules:
    """What a signature lets later revisions do."""

    permission: int | None
    """DocMDP: 1 validation data, 2 forms and signatures, 3 annotations too; none when it says nothing."""
    lock: FieldLock | None

    def refuse(self, change: Change) -> str | None:
        """Why a change is not permitted, kebab-case; none when it is."""
        if change.level is Level.ALWAYS:
            return None
        if change.field is not None and self.lock is not None and self.lock.locks(change.field):
            return "field-locked"
        if change.level is Level.NEVER:
            return "not-proven-harmless"
        most = {None: Level.FORM, 1: Level.ALWAYS, 2: Level.FORM, 3: Level.ANNOTATION}[self.permission]
        if change.level > most:
            return "not-proven-harmless" if self.permission is None else "beyond-permission"
        return "form-field-replaced" if change.replaces and self.permission is None else None


_LASTING = frozenset({"page-content", "page-properties", "pages-added", "pages-removed", "catalog", "structure"})
"""Changes that count even where a later revision takes them back: whoever read the file in between was deceived."""


def _compare(document: Document, signed: int, rules: Rules) -> Comparison:
    """Judge what the latest revision makes of the signed one, and tell it revision by revision."""
    latest = document.latest
    steps = [(revision, _difference(document, revision - 1, revision)) for revision in range(signed + 1, latest + 1)]
    whole = _difference(document, signed, latest) if signed < latest else ()
    reasons: dict[_Key, str | None] = {}
    for change in whole:  # what reads the same may happen twice, and one of them be refused
        reasons[_key(change)] = reasons.get(_key(change)) or rules.refuse(change)
    found: dict[tuple[int, _Key], LaterChange] = {}
    why = next((reason for reason in reasons.values() if reason is not None), None)
    told: set[_Key] = set()
    for revision, changes in steps:
        for change in changes:
            key = _key(change)
            told.add(key)
            reason = reasons.get(key)
            if key not in reasons and change.what in _LASTING:
                reason = rules.refuse(change)
                why = why or reason
            if (revision, key) not in found or reason is not None:
                found[(revision, key)] = _told(revision, change, reason)
    for change in whole:
        key = _key(change)
        if key not in told:
            found[(latest, key)] = _told(latest, change, reasons[key])
    listed = list(found.values())
    if len(listed) > MOST_CHANGES:  # what is not allowed stays when the list is cut
        listed = sorted(listed, key=lambda one: one.allowed)[:MOST_CHANGES]
    listed.sort(key=lambda one: one.revision)
    return Comparison(tuple(listed), why is None, why)


_Key = tuple[str, int | None, str]


def _key(change: Change) -> _Key:
    return (change.what, change.page, change.detail)


def _told(revision: int, change: Change, reason: str | None) -> LaterChange:
    return LaterChange(
        revision=revision, page=change.page, what=change.what, detail=change.detail, allowed=reason is None
    )


def _difference(document: Document, earlier: int, later: int) -> tuple[Change, ...]:
    """What one revision does not mean as another meant it, computed once."""
    known = document.differences
    if (earlier, later) not in known:
        try:
            pair = Pair(_view(document, earlier), _view(document, later), _steps(document))
            known[(earlier, later)] = tuple(dict.fromkeys(Difference(pair).changes()))
        except Endless:
            known[(earlier, later)] = (Change("not-analysable", Level.NEVER),)
    return cast("tuple[Change, ...]", known[(earlier, later)])


def _view(document: Document, revision: int) -> View:
    if revision not in document.views:
        document.views[revision] = View(document.file, revision, _steps(document))
    return cast("View", document.views[revision])


def _steps(document: Document) -> Steps:
    if document.steps is None:
        document.steps = Steps()
    return cast("Steps", document.steps)


class Difference:
    """Everything that a later revision does not mean as the earlier one meant it."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.old, self.new = pair.old, pair.new
        self.seen: set[tuple[int, int]] = set()
        self.forms = Forms(pair)
        self._pair_up()
        pair.quiet = pair.written.isdisjoint(self.old.content)

    def _pair_up(self) -> None:
        """Tell which objects with a rule of their own answer each other."""
        partners = self.pair.partners
        for a, b in (
            (
                self.old.file.trailer(self.old.revision).get("Root"),
                self.new.file.trailer(self.new.revision).get("Root"),
            ),
            (self.old.catalog.get("AcroForm"), self.new.catalog.get("AcroForm")),
        ):
            if isinstance(a, Ref) and isinstance(b, Ref) and isinstance(self.old.get(a), dict):
                partners[a.number] = b.number
        new_nodes = {node.path: node for node in self.new.nodes}
        for node in self.old.nodes:
            twin = new_nodes.get(node.path)
            if node.number is not None and twin is not None and twin.number is not None:
                partners[node.number] = twin.number
        self.notes = [
            _matched(self.pair, page, self.new.annotations[index] if index < len(self.new.annotations) else ())
            for index, page in enumerate(self.old.annotations)
        ]
        for matched in self.notes:
            for one, other in matched.pairs:
                if one.number is not None and other.number is not None:
                    partners.setdefault(one.number, other.number)

    def changes(self) -> Iterator[Change]:
        """What changed, the page's content first. Raises Endless after too many steps."""
        if self._unwritten():
            return
        yield from self._pages()
        yield from self._catalog()
        yield from self._form()
        yield from self.forms.changes()
        yield from self._annotations()
        yield from self._information()

    def _unwritten(self) -> bool:
        return not self.pair.written and self.old.file.trailer(self.old.revision).get("Root") == self.new.file.trailer(
            self.new.revision
        ).get("Root")

    def _equal(self, old: Value, new: Value, drawn: bool = False) -> bool:
        return self.pair.equal(old, new, self.seen, quiet=self.pair.quiet, drawn=drawn)

    def _entries(
        self, old: dict[str, Value], new: dict[str, Value], free: frozenset[str], drawn: bool = False
    ) -> list[str]:
        """The entries that do not mean the same, but for the free ones."""
        return [key for key in {**old, **new} if key not in free and not self._equal(old.get(key), new.get(key), drawn)]

    # --- pages ---------------------------------------------------------------------------------------------------

    def _pages(self) -> Iterator[Change]:
        before, now = len(self.old.pages), len(self.new.pages)
        if before != now:
            what = "pages-removed" if now < before else "pages-added"
            yield Change(what, Level.NEVER, None, f"{before} → {now}")
            return
        twins = {node.path: node for node in self.new.nodes}
        number = 0
        for node in self.old.nodes:
            number += node.leaf
            page = number if node.leaf else None
            twin = twins.get(node.path)
            if twin is None or twin.leaf is not node.leaf:
                yield Change("page-properties", Level.NEVER, page, "Kids")
                return
            if self.pair.quiet and self.pair.unchanged(node.number) and node.number == twin.number:
                continue
            yield from self._page(node, twin, page)
        if len(twins) != len(self.old.nodes):
            yield Change("page-properties", Level.NEVER, None, "Kids")

    def _page(self, old: Node, new: Node, page: int | None) -> Iterator[Change]:
        free = FREE_IN_PAGE
        if not old.leaf:  # what no standard reader looks for in a node is shown to nobody (tables 30 and 31)
            free = FREE_IN_PAGE | ({**old.dictionary, **new.dictionary}.keys() - NODE_ENTRIES)
        differing = self._entries(old.dictionary, new.dictionary, free, drawn=True)
        if not old.leaf and len(self.old.get(old.dictionary["Kids"])) != len(self.new.get(new.dictionary["Kids"])):
            differing.append("Kids")
        if "StructParents" in differing and "StructParents" not in old.dictionary:
            differing.remove("StructParents")
        if "Contents" in differing or "Resources" in differing:
            yield Change("page-content", Level.NEVER, page)
        elif differing:
            yield Change("page-properties", Level.NEVER, page, ", ".join(sorted(differing))[:80])

    # --- catalog and trailer -------------------------------------------------------------------------------------

    def _catalog(self) -> Iterator[Change]:
        old, new = self.old.catalog, self.new.catalog
        old_root = self.old.file.trailer(self.old.revision)
        new_root = self.new.file.trailer(self.new.revision)
        differing = self._entries(old, new, FREE_IN_CATALOG | {"StructTreeRoot"})
        same_tree = self.pair.quiet and old.get("StructTreeRoot") == new.get("StructTreeRoot")
        if not same_tree and not grown_only(self.pair, self.forms.added_signature_widgets(), self.seen):
            yield Change("structure", Level.NEVER)
        version = self.new.get(new.get("Version"))
        if version is not None and not isinstance(version, Name):
            differing.append("Version")
        differing += [
            key for key, each in self.old.extras.items() if key in new_root and not self._equal(each, new_root[key])
        ]
        if old_root.get("Encrypt") != new_root.get("Encrypt"):
            differing.append("Encrypt")
        if differing:
            yield Change("catalog", Level.NEVER, None, ", ".join(sorted(differing))[:80])
        if not self.pair.equal(old.get("DSS"), new.get("DSS"), set()):
            gone = self.new.get(new.get("DSS")) is None
            yield Change("validation-data-removed" if gone else "validation-data-added", Level.ALWAYS)
        if not self.pair.equal(old.get("Metadata"), new.get("Metadata"), set()):
            yield Change("metadata", Level.ALWAYS if self._is_metadata(new.get("Metadata")) else Level.NEVER)

    def _is_metadata(self, raw: Value) -> bool:
        """Whether it is an XMP packet without entities, and so nothing else to anybody (ISO 16684-1), or nothing."""
        value = self.new.get(raw)
        if value is None:
            return True
        if not isinstance(value, Stream):
            return False
        try:
            data = self.new.file.decoded(value, self.new.revision).replace(b"\0", b"")
        except Misformed:
            return False
        return any(mark in data for mark in _PACKET) and not any(mark in data for mark in _ENTITIES)

    def _information(self) -> Iterator[Change]:
        old = self.old.file.trailer(self.old.revision).get("Info")
        new = self.new.file.trailer(self.new.revision).get("Info")
        if not self.pair.equal(old, new, set()):
            yield Change("metadata", Level.ALWAYS)

    # --- form ----------------------------------------------------------------------------------------------------

    def _form(self) -> Iterator[Change]:
        old, new = self.old.form, self.new.form
        free = frozenset({"Fields", "SigFlags", "NeedAppearances", "DR"})
        differing = self._entries(old, new, free)
        if "DA" in differing and "DA" not in old:
            differing.remove("DA")
        if not self._fonts_kept():
            differing.append("DR")
        if differing:
            yield Change("catalog", Level.NEVER, None, "AcroForm: " + ", ".join(sorted(differing))[:60])
        if not self._equal(old.get("NeedAppearances"), new.get("NeedAppearances")):
            yield Change("form-field", Level.FORM, None, "NeedAppearances")

    def _fonts_kept(self) -> bool:
        """Whether the form's fonts are what they were; new ones may come, and nothing else there is ever shown."""
        old, new = (view.fonts for view in (self.old, self.new))
        if old is None:
            return True
        if not isinstance(old, dict) or not isinstance(new, dict):
            return False
        return all(self._equal(each, new.get(name)) for name, each in old.items())

    # --- annotations ---------------------------------------------------------------------------------------------

    def _annotations(self) -> Iterator[Change]:
        for index, matched in enumerate(self.notes):
            page = index + 1
            for one in matched.gone:
                yield self._annotation("annotation-removed", page, self.old, one)
            for one, other in matched.pairs:
                if self._is_field(self.old, one):
                    continue
                if self.pair.quiet and one.number == other.number and self.pair.unchanged(one.number):
                    continue
                if not self._equal_note(one, other):
                    yield self._annotation("annotation-changed", page, self.new, other)
            for other in matched.come:
                if not self.forms.may_appear(other.number):
                    yield self._annotation("annotation-added", page, self.new, other)
            if matched.moved:
                yield Change("annotation-changed", Level.ANNOTATION, page, "Annots")

    def _equal_note(self, old: Annotation, new: Annotation) -> bool:
        return not self._entries(old.dictionary, new.dictionary, frozenset({"M", "P"}))

    def _annotation(self, what: str, page: int, view: View, one: Annotation) -> Change:
        subtype = view.get(one.dictionary.get("Subtype"))
        widget = subtype == "Widget"
        return Change(what, Level.NEVER if widget else Level.ANNOTATION, page, str(subtype or "")[:40])

    @staticmethod
    def _is_field(view: View, one: Annotation) -> bool:
        return one.number is not None and one.number in view.field_numbers


@dataclass
class _Notes:
    """The annotations of a page in both revisions."""

    pairs: list[tuple[Annotation, Annotation]]
    gone: list[Annotation]
    come: list[Annotation]
    moved: bool


def _matched(pair: Pair, old: tuple[Annotation, ...], new: tuple[Annotation, ...]) -> _Notes:
    """Pair annotations by the fields they belong to, by object number, and by what they are."""
    by_number = {one.number: index for index, one in enumerate(new) if one.number is not None}
    partner: dict[int, int] = {}
    left: list[int] = []
    for index, one in enumerate(old):
        wanted = pair.partners.get(one.number, one.number) if one.number is not None else None
        there = by_number.get(wanted) if wanted is not None else None
        if there is None:
            left.append(index)
        else:
            partner[index] = there
    taken = set(partner.values())
    free = [index for index in range(len(new)) if index not in taken]
    for index in left:
        for there in free:
            if pair.equal(old[index].dictionary, new[there].dictionary, set()):
                partner[index] = there
                free.remove(there)
                break
    order = [partner[index] for index in range(len(old)) if index in partner]
    return _Notes(
        pairs=[(old[index], new[there]) for index, there in partner.items()],
        gone=[old[index] for index in left if index not in partner],
        come=[new[index] for index in free],
        moved=order != sorted(order),
    )
