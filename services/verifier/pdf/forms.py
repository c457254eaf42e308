"""What later revisions did to a form: fields filled, signed, added, removed, replaced (ISO 32000-2 clause 12.7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from services.verifier.pdf.document import Field
from services.verifier.pdf.equality import Pair, same_scalar
from services.verifier.pdf.syntax import Misformed, Ref, Stream, Value
from services.verifier.pdf.text import text
from services.verifier.pdf.view import FREE_IN_FIELD, View

FieldKey = tuple[str, int]
_READ_ONLY = 1
_PRINTING = 4 | 128 | 512
"""Print, Locked and LockedContents of the annotation flags: they hide nothing (table 167)."""
_OF_VALUE = frozenset({"V", "RV", "I", "TI", "AS", "AP", "DA", "Q", "M", "MK"})
"""Entries that may follow a new value."""
_OF_SIGNING = _OF_VALUE | {"DR", "SV", "Lock", "P", "TU"}
"""Entries that may come with a signature into an empty field."""
_ACTIONS = ("A", "AA")
_SHOWN = frozenset({"V", "AP", "Rect", "Subtype"})


class Level(IntEnum):
    """Who may do this after a signature (ISO 32000-2 table 257)."""

    ALWAYS = 0
    FORM = 1
    """With P 2 or more, or where no certification says anything."""
    ANNOTATION = 2
    """With P 3."""
    NEVER = 3


@dataclass(frozen=True)
class Change:
    """One thing that a revision did."""

    what: str
    level: Level
    page: int | None = None
    detail: str = ""
    field: str | None = None
    """The fully qualified name of the field that it concerns."""
    replaces: bool = False
    """Whether it replaces a form value that was there: only a certifier's permission allows that."""


class Forms:
    """The forms of two revisions side by side."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.partners: dict[FieldKey, FieldKey] = {}
        self._match()

    def _match(self) -> None:
        """Pair the fields by name, their widgets by object number, then by order."""
        old, new = self.pair.old, self.pair.new
        widgets: dict[str, list[FieldKey]] = {}
        for key, field in new.fields.items():
            if key in old.fields and field.named:
                self.partners[key] = key
            elif not field.named:
                widgets.setdefault(key[0], []).append(key)
        by_number = {field.number: key for key, field in new.fields.items() if field.number is not None}
        taken: set[FieldKey] = set()
        left: list[FieldKey] = []
        for key, field in old.fields.items():
            if field.named:
                continue
            same = by_number.get(field.number) if field.number is not None else None
            if same is not None and same[0] == key[0]:
                self.partners[key] = same
                taken.add(same)
            else:
                left.append(key)
        for key in left:
            free = next((one for one in widgets.get(key[0], ()) if one not in taken), None)
            if free is not None:
                self.partners[key] = free
                taken.add(free)
        for key, partner in self.partners.items():
            one, two = old.fields[key].number, new.fields[partner].number
            if one is not None and two is not None:
                self.pair.partners[one] = two

    @property
    def added(self) -> dict[FieldKey, Field]:
        """The nodes that the old form does not have."""
        known = set(self.partners.values())
        return {key: field for key, field in self.pair.new.fields.items() if key not in known}

    def added_signature_widgets(self) -> frozenset[int]:
        """The object numbers of new signature fields and their widgets."""
        return frozenset(
            field.number for field in self.added.values() if field.number is not None and field.kind == "Sig"
        )

    def may_appear(self, number: int | None) -> bool:
        """Whether a widget that stands on a page now and did not before belongs to a new field, or to one just signed.

        The widget of an older field that nobody saw may cover what was signed.
        """
        if number is None or number not in self.pair.new.field_numbers:
            return False
        key = self.pair.new.field_numbers[number]
        former = next((one for one, partner in self.partners.items() if partner == key), None)
        if former is None:
            return True
        old, new = self.pair.old.fields[former], self.pair.new.fields[key]
        signed_now = self.pair.new.get(self._value(self.pair.new, new)) is not None
        return old.kind == "Sig" and signed_now and self.pair.old.get(self._value(self.pair.old, old)) is None

    def changes(self) -> Iterator[Change]:
        """Everything that happened to the form's fields. Raises Endless after too many steps."""
        pair = self.pair
        for key in pair.old.fields:
            if key not in self.partners:
                yield self._item("form-field-removed", Level.NEVER, pair.old, key)
        for key, field in self.added.items():
            yield from self._added(key, field)
        calm = pair.quiet and pair.written.isdisjoint(pair.old.filling)
        for key, partner in self.partners.items():
            old, new = pair.old.fields[key], pair.new.fields[partner]
            same = calm and pair.unchanged(old.number) and old.number == new.number
            if same and (old.parent is None or self._lineage_unchanged(old)):
                continue
            yield from self._compared(key, partner, old, new)

    def _lineage_unchanged(self, field: Field) -> bool:
        number = field.dictionary.get("Parent")
        for _ in range(64):
            if not isinstance(number, Ref):
                return True
            if not self.pair.unchanged(number.number):
                return False
            parent = self.pair.old.object(number.number)
            number = parent.get("Parent") if isinstance(parent, dict) else None
        return False

    def _item(self, what: str, level: Level, view: View, key: FieldKey, replaces: bool = False) -> Change:
        field = view.fields[key]
        page = view.page_of.get(field.number) if field.number is not None else None
        if page is None:
            page = self._page_of_kids(view, field)
        return Change(what, level, page, field.name[:80], field.name, replaces)

    @staticmethod
    def _page_of_kids(view: View, field: Field) -> int | None:
        kids = view.get(field.dictionary.get("Kids"))
        for kid in kids[:50] if isinstance(kids, list) else ():
            if isinstance(kid, Ref) and kid.number in view.page_of:
                return view.page_of[kid.number]
        return None

    # --- new fields ----------------------------------------------------------------------------------------------

    def _added(self, key: FieldKey, field: Field) -> Iterator[Change]:
        pair = self.pair
        kids = pair.new.get(field.dictionary.get("Kids"))
        if field.kind is None and isinstance(kids, list) and kids and not _SHOWN & field.dictionary.keys():
            return  # a folder: each of its kids is looked at on its own
        if not field.named and self._parent_was_there(key[0]):
            if field.kind != "Sig" or self._was_signed(key[0]):
                yield self._item("form-field-added", Level.NEVER, pair.new, key)
                return
            if not any(action in field.dictionary for action in _ACTIONS):
                return  # the widget of a field that is being signed
        if field.kind != "Sig" or any(action in field.dictionary for action in _ACTIONS):
            yield self._item("form-field-added", Level.NEVER, pair.new, key)
        elif field.named:
            yield from self._signed(key, field, "signature-field-added")

    def _parent_was_there(self, name: str) -> bool:
        return (name.removesuffix("\0"), 0) in self.pair.old.fields

    def _was_signed(self, name: str) -> bool:
        field = self.pair.old.fields.get((name.removesuffix("\0"), 0))
        return field is not None and self.pair.old.get(field.dictionary.get("V")) is not None

    def _signed(self, key: FieldKey, field: Field, empty: str) -> Iterator[Change]:
        """A signature field that holds a value now and did not before."""
        pair = self.pair
        raw = field.dictionary.get("V")
        value = pair.new.get(raw)
        if value is None:
            # Without a signature nobody answers for what an appearance shows: that is an annotation.
            level = Level.ANNOTATION if self._shows(field) else Level.FORM
            yield self._item(empty, level, pair.new, key)
        elif not isinstance(value, dict) or (isinstance(raw, Ref) and pair.old.place(raw.number) is not None):
            # The value of another field, or an object that meant something else when the signer signed.
            yield self._item("signature-value-replaced", Level.NEVER, pair.new, key)
        elif pair.new.get(value.get("Type")) == "DocTimeStamp" and not self._visible(field):
            yield self._item("document-timestamp-added", Level.ALWAYS, pair.new, key)
        else:
            yield self._item("signature-added", Level.FORM, pair.new, key)

    def _shows(self, field: Field) -> bool:
        """Whether a field without a value draws anything."""
        view = self.pair.new
        kids = view.get(field.dictionary.get("Kids"))
        for one in [field.dictionary, *(view.get(kid) for kid in (kids[:50] if isinstance(kids, list) else ()))]:
            looks = view.get(one.get("AP")) if isinstance(one, dict) and has_area(view, one) else None
            drawn = view.get(looks.get("N")) if isinstance(looks, dict) else None
            if isinstance(drawn, dict) or (isinstance(drawn, Stream) and not self._blank(drawn)):
                return True
        return False

    def _blank(self, stream: Stream) -> bool:
        try:
            return not self.pair.new.file.decoded(stream, self.pair.new.revision).strip()
        except Misformed:
            return False

    def _visible(self, field: Field) -> bool:
        view = self.pair.new
        kids = view.get(field.dictionary.get("Kids"))
        each = [view.get(kid) for kid in kids[:50]] if isinstance(kids, list) else []
        return any(has_area(view, one) for one in [field.dictionary, *each] if isinstance(one, dict))

    # --- fields of both ------------------------------------------------------------------------------------------

    def _compared(self, key: FieldKey, partner: FieldKey, old: Field, new: Field) -> Iterator[Change]:
        pair = self.pair
        differing = [
            entry
            for entry in {**old.dictionary, **new.dictionary}
            if entry != "Kids" and not self._same(entry, old.dictionary, new.dictionary)
        ]
        if self._odd_kids(pair.old, old) != self._odd_kids(pair.new, new):
            yield self._item("form-field", Level.NEVER, pair.new, partner)
            return
        if "AP" in differing and self._shared(key, old):
            yield self._item("appearance-shared", Level.NEVER, pair.new, partner)
            return
        inherited = self._value(pair.old, old), self._value(pair.new, new)
        value_changed = not self._alike(*inherited)
        if not differing and not value_changed:
            return
        if old.kind != new.kind:
            yield self._item("form-field", Level.NEVER, pair.new, partner)
        elif old.kind == "Sig":
            yield from self._signature_field(key, partner, old, new, differing, value_changed)
        else:
            yield from self._plain_field(partner, old, new, differing, value_changed)

    @staticmethod
    def _odd_kids(view: View, field: Field) -> tuple[bool, int] | None:
        """(whether `/Kids` is a list, how many in it are no dictionary), as readers may differ on such."""
        kids = view.get(field.dictionary.get("Kids"))
        if kids is None:
            return None
        return isinstance(kids, list), sum(not isinstance(view.get(kid), dict) for kid in kids) if isinstance(
            kids, list
        ) else 0

    def _shared(self, key: FieldKey, old: Field) -> bool:
        """Whether the appearance that gives way is used elsewhere too: then it is not this field's to replace."""
        raw = old.dictionary.get("AP")
        if not isinstance(raw, Ref):
            return False
        view = self.pair.old
        return raw.number in view.content or any(
            other.dictionary.get("AP") == raw for name, other in view.fields.items() if name != key
        )

    def _same(self, entry: str, old: dict[str, Value], new: dict[str, Value]) -> bool:
        a, b = old.get(entry), new.get(entry)
        pair = self.pair
        if entry == "Ff":
            return self._bits(a, b, _READ_ONLY)
        if entry == "Type":
            return pair.new.get(b) == "Annot" if a is None else same_scalar(pair.old.get(a), pair.new.get(b))
        if entry == "P" and a is None:
            return True
        return pair.equal(a, b, set(), quiet=pair.quiet and entry not in FREE_IN_FIELD)

    def _bits(self, a: Value, b: Value, free: int) -> bool:
        one, two = self.pair.old.get(a), self.pair.new.get(b)
        one, two = 0 if one is None else one, 0 if two is None else two
        return type(one) is int and type(two) is int and one & ~free == two & ~free

    def _value(self, view: View, field: Field) -> Value:
        """`/V`, also inherited; null where a button is off or a text is empty."""
        dictionary: Value = field.dictionary
        for _ in range(64):
            if not isinstance(dictionary, dict):
                return None
            if "V" in dictionary:
                raw = dictionary["V"]
                value = view.get(raw)
                return None if value in ("Off", b"", []) else raw
            dictionary = view.get(dictionary.get("Parent"))
        return None

    def _alike(self, a: Value, b: Value) -> bool:
        one, two = self.pair.old.get(a), self.pair.new.get(b)
        if isinstance(one, bytes) and isinstance(two, bytes):
            return text(one) == text(two)
        return self.pair.equal(a, b, set())

    def _signature_field(
        self, key: FieldKey, partner: FieldKey, old: Field, new: Field, differing: list[str], value_changed: bool
    ) -> Iterator[Change]:
        pair = self.pair
        before, now = self._value(pair.old, old), self._value(pair.new, new)
        if pair.old.get(before) is not None:
            what = "signature-value-replaced" if value_changed or "V" in differing else "form-field-replaced"
            yield self._item(what, Level.NEVER, pair.new, partner)
            return
        allowed = _OF_SIGNING if pair.new.get(now) is not None else frozenset({"Lock", "SV", "P"})
        if any(not self._may_differ(entry, allowed, old, new) for entry in differing):
            yield self._item("form-field", Level.NEVER, pair.new, partner)
        if new.named and pair.new.get(now) is not None:
            yield from self._signed(partner, new, "form-field")
        elif new.named and differing:
            yield self._item("form-field", Level.FORM, pair.new, partner)

    def _may_differ(self, entry: str, allowed: frozenset[str], old: Field, new: Field) -> bool:
        if entry == "F":
            return self._bits(old.dictionary.get("F"), new.dictionary.get("F"), _PRINTING) or not has_area(
                self.pair.old, old.dictionary
            )
        return entry in allowed

    def _plain_field(
        self, partner: FieldKey, old: Field, new: Field, differing: list[str], value_changed: bool
    ) -> Iterator[Change]:
        pair = self.pair
        bad = [entry for entry in differing if not self._may_differ(entry, _OF_VALUE, old, new)]
        if bad:
            yield self._item("form-field", Level.NEVER, pair.new, partner)
        before = pair.old.get(self._value(pair.old, old))
        looks = "AP" in differing or "AS" in differing
        default = pair.old.get(old.dictionary.get("DV"))
        if value_changed and before is not None and not self._alike(before, default):
            yield self._item("form-value-replaced", Level.FORM, pair.new, partner)
        elif value_changed:
            yield self._item("form-field-filled", Level.FORM, pair.new, partner)
        elif looks and pair.old.get(old.dictionary.get("AP")) is not None:
            # Another appearance for the same value: what is seen is replaced, as in the shadow attacks.
            yield self._item("form-field-replaced", Level.FORM, pair.new, partner, replaces=True)
        elif not bad:
            yield self._item("form-field", Level.FORM, pair.new, partner)


def has_area(view: View, dictionary: dict[str, Value]) -> bool:
    """Whether a widget covers anything."""
    corners = view.get(dictionary.get("Rect"))
    if not isinstance(corners, list) or len(corners) != 4:
        return False
    values = [view.get(one) for one in corners]
    if not all(isinstance(one, int | float) for one in values):
        return False
    return bool(values[0] != values[2] and values[1] != values[3])
