"""The structure tree of a tagged document: it may grow by new form widgets, and must otherwise stay as it was."""

from __future__ import annotations

from services.verifier.pdf.equality import Pair
from services.verifier.pdf.syntax import Ref, Value
from services.verifier.pdf.view import View

MOST_TREE = 64
MOST_ELEMENTS = 200_000


def grown_only(pair: Pair, widgets: frozenset[int], seen: set[tuple[int, int]]) -> bool:
    """Whether the structure tree kept all that it had and gained nothing but elements of the new `widgets`.

    Elements tell assistive technology what the page says, so that a changed one changes the document
    (ISO 32000-2 clause 14.7). Raises Endless after too many steps.
    """
    old, new = (
        pair.old.get(pair.old.catalog.get("StructTreeRoot")),
        pair.new.get(pair.new.catalog.get("StructTreeRoot")),
    )
    if old is None and new is None:
        return True
    if not isinstance(old, dict) or not isinstance(new, dict):
        return False
    root = pair.old.catalog.get("StructTreeRoot"), pair.new.catalog.get("StructTreeRoot")
    work: list[tuple[Value, Value, str]] = [(*root, "root")]
    rest: list[tuple[Value, Value]] = []
    trees: list[tuple[Value, Value]] = []
    steps = 0
    while work:
        raw_old, raw_new, kind = work.pop()
        steps += 1
        if steps > MOST_ELEMENTS:
            return False
        if isinstance(raw_old, Ref) and isinstance(raw_new, Ref):
            key = (raw_old.number, raw_new.number)
            if key in seen:
                continue
            seen.add(key)
        a, b = pair.old.get(raw_old), pair.new.get(raw_new)
        if not isinstance(a, dict) or not isinstance(b, dict):
            rest.append((a, b))
            continue
        if "MCID" in a or "Obj" in a:
            rest.append((a, b))
            continue
        for key_name in {**a, **b}:
            x, y = a.get(key_name), b.get(key_name)
            if key_name == "K":
                if not _kids(pair, x, y, widgets, work):
                    return False
            elif kind == "root" and key_name == "ParentTree":
                trees.append((x, y))
            elif not (kind == "root" and key_name == "ParentTreeNextKey"):
                rest.append((x, y))
    # Only now, as the entries refer to elements, which the walk above has met.
    return all(pair.equal(x, y, seen) for x, y in rest) and all(_numbers_kept(pair, x, y, seen) for x, y in trees)


def _kids(
    pair: Pair, raw_old: Value, raw_new: Value, widgets: frozenset[int], work: list[tuple[Value, Value, str]]
) -> bool:
    old, new = _listed(pair.old, raw_old), _listed(pair.new, raw_new)
    at = 0
    for each in new:
        if at < len(old) and _corresponds(pair, old[at], each):
            work.append((old[at], each, "element"))
            at += 1
        elif not _is_of_widgets(pair, each, widgets):
            return False
    return at == len(old)


def _listed(view: View, raw: Value) -> list[Value]:
    value = view.get(raw)
    if isinstance(value, list):
        return value
    return [] if value is None else [raw]


def _corresponds(pair: Pair, old: Value, new: Value) -> bool:
    if isinstance(old, Ref) and isinstance(new, Ref):
        return old.number == new.number or pair.old.place(new.number) is not None
    return type(old) is type(new)


def _is_of_widgets(pair: Pair, raw: Value, widgets: frozenset[int]) -> bool:
    """Whether a new element holds references to new widgets and nothing else: no marked content of a page."""
    stack = [(raw, 0)]
    referred = False
    while stack:
        one, depth = stack.pop()
        pair.steps.take()
        if isinstance(one, Ref) and pair.old.place(one.number) is not None:
            return False
        value = pair.new.get(one)
        if not isinstance(value, dict) or "MCID" in value or depth > MOST_TREE:
            return False
        if "Obj" in value:
            target = value["Obj"]
            if not isinstance(target, Ref) or target.number not in widgets:
                return False
            referred = True
            continue
        if "ActualText" in value:
            return False
        stack.extend((kid, depth + 1) for kid in _listed(pair.new, value.get("K")))
    return referred


def _numbers_kept(pair: Pair, raw_old: Value, raw_new: Value, seen: set[tuple[int, int]]) -> bool:
    """Whether a number tree has all that it had."""
    old, new = _numbers(pair.old, raw_old, pair), _numbers(pair.new, raw_new, pair)
    return all(key in new and pair.equal(value, new[key], seen) for key, value in old.items())


def _numbers(view: View, raw: Value, pair: Pair) -> dict[int, Value]:
    found: dict[int, Value] = {}
    stack = [(raw, 0)]
    met: set[int] = set()
    while stack:
        one, depth = stack.pop()
        pair.steps.take()
        if isinstance(one, Ref):
            if one.number in met:
                continue
            met.add(one.number)
        node = view.get(one)
        if not isinstance(node, dict) or depth > MOST_TREE:
            continue
        pairs = view.get(node.get("Nums"))
        if isinstance(pairs, list):
            for key, value in zip(pairs[::2], pairs[1::2], strict=False):
                number = view.get(key)
                if type(number) is int:
                    found[number] = value
        kids = view.get(node.get("Kids"))
        if isinstance(kids, list):
            stack.extend((kid, depth + 1) for kid in kids)
    return found
