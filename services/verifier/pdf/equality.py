"""Whether two revisions mean the same by two values: renumbered, moved or written anew is no difference."""

from __future__ import annotations

from services.verifier.pdf.syntax import Misformed, Name, Ref, Stream, Value
from services.verifier.pdf.view import Steps, View

_CODING = frozenset({"Length", "Filter", "DecodeParms", "DL"})


class Pair:
    """Two revisions side by side."""

    def __init__(self, old: View, new: View, steps: Steps) -> None:
        self.old = old
        self.new = new
        self.steps = steps
        self.partners: dict[int, int] = {}
        """Objects that have a rule of their own, old number to new: a reference to one must lead to the other."""
        self.written = self._written()
        """Objects that the revisions between wrote, freed or made."""
        self.quiet = False
        """Whether nothing on which shown content leans was written, so that same objects need no look inside."""

    def _written(self) -> frozenset[int]:
        file, old, new = self.old.file, self.old, self.new
        between = {number for at in range(old.revision + 1, new.revision + 1) for number in file.written(at)}
        if any(_is_pack(old.object(number)) for number in between if old.place(number) is not None):
            # An object stream written over takes everything in it along, whether or not a section says so.
            between |= {number for at in range(old.revision + 1) for number in file.written(at)}
        return frozenset(number for number in between if old.place(number) != new.place(number))

    def unchanged(self, number: int | None) -> bool:
        """Whether an object lies where it lay."""
        return number is not None and number not in self.written

    def equal(
        self, old: Value, new: Value, seen: set[tuple[int, int]], quiet: bool = False, drawn: bool = False
    ) -> bool:
        """Whether both mean the same, all that they refer to included.

        `seen` holds the pairs of objects already looked at and grows; `quiet` passes over objects that lie where they
        lay, for callers who know that nothing below them was written; `drawn` says that a page draws with the values,
        so that only its tree has a rule of its own.

        Raises:
            Endless: too many steps.
        """
        stack = [(old, new)]
        partners, take = self.partners, self.steps.take
        tree = self.old.tree
        while stack:
            a, b = stack.pop()
            take()
            if type(a) is Ref and type(b) is Ref:
                one, two = a.number, b.number
                if one in partners and (not drawn or one in tree):
                    if partners[one] != two:
                        return False
                    continue
                if (one, two) in seen:
                    continue
                seen.add((one, two))
                if one == two and one not in self.written:
                    if not quiet:
                        stack.extend((Ref(each, 0), Ref(each, 0)) for each in self.old.references(one))
                    continue
            a, b = self.old.get(a), self.new.get(b)
            if isinstance(a, dict):
                if not isinstance(b, dict):
                    return False
                stack.extend((a.get(key), b.get(key)) for key in {**a, **b})
            elif isinstance(a, list):
                if not isinstance(b, list) or len(a) != len(b):
                    return False
                stack.extend(zip(a, b, strict=True))
            elif isinstance(a, Stream):
                if not isinstance(b, Stream):
                    return False
                if a is not b and not self._same_bytes(a, b):
                    return False
                keys = ({**a.dictionary, **b.dictionary}).keys() - _CODING
                stack.extend((a.dictionary.get(key), b.dictionary.get(key)) for key in keys)
            elif not same_scalar(a, b):
                return False
        return True

    def _same_bytes(self, a: Stream, b: Stream) -> bool:
        try:
            if a.raw == b.raw and all(
                self.equal(a.dictionary.get(key), b.dictionary.get(key), set()) for key in ("Filter", "DecodeParms")
            ):
                return True
            return self.old.file.decoded_to(a, self.old.revision) == self.new.file.decoded_to(b, self.new.revision)
        except (Misformed, ValueError):
            return False


def _is_pack(value: Value) -> bool:
    return isinstance(value, Stream) and "N" in value.dictionary and "First" in value.dictionary


def same_scalar(a: Value, b: Value) -> bool:
    """Whether two values without parts are the same; 1 and 1.0 are, 1 and true or a name and a string are not."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, int | float):
        return isinstance(b, int | float) and a == b
    return isinstance(a, Name) is isinstance(b, Name) and type(a) is type(b) and bool(a == b)
