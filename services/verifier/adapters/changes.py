"""What later revisions did after a signature: pyHanko's difference analysis, our stricter rules, and plain words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import HistoricalResolver
from pyhanko.sign.diff_analysis import (
    DEFAULT_DIFF_POLICY,
    ModificationLevel,
    StandardDiffPolicy,
    SuspiciousModification,
)
from pyhanko.sign.diff_analysis.rules_api import ReferenceUpdate, WhitelistRule
from pyhanko.sign.fields import FieldMDPSpec, MDPPerm

from services.verifier.adapters.document import Document, SignatureField, get
from services.verifier.model import LaterChange

_HARMLESS = frozenset(
    {"signature-added", "document-timestamp-added", "validation-data-added", "metadata", "signature-field-added"}
)
MOST_CHANGES = 60
"""More changes than this per signature are counted, not listed."""


_SHOWN_BY_NOBODY = frozenset({("/AdditionalStreams",)})
"""Trailer entries of a producer's own (LibreOffice), which may name an object number that nothing defines yet."""


class _SecurityStoreRule(WhitelistRule):
    """The DSS may be written anew by whatever tool: nothing in it is shown.

    Only objects that the old revision used nowhere but in its DSS, or not at all, are cleared by it.
    """

    def apply(self, old: HistoricalResolver, new: HistoricalResolver) -> Iterable[ReferenceUpdate]:
        root = new.root
        if "/DSS" not in root:
            return
        old._load_reverse_xref_cache()
        for ref in new.collect_dependencies(root.raw_get("/DSS"), since_revision=None):
            usages = [tuple(path) for path in old._get_usages_of_ref(ref)]
            dangling = old.reader.xrefs.get_historical_ref(ref, old.revision) is None
            if all(path[:2] == ("/Root", "/DSS") or (dangling and path[:1] in _SHOWN_BY_NOBODY) for path in usages):
                yield ReferenceUpdate(ref)


_POLICY = StandardDiffPolicy(
    global_rules=[*DEFAULT_DIFF_POLICY.global_rules, _SecurityStoreRule().as_qualified(ModificationLevel.LTA_UPDATES)],
    form_rule=DEFAULT_DIFF_POLICY.form_rule,
)
_TOLERANT_POLICY = StandardDiffPolicy(
    global_rules=[
        *(rule for rule in DEFAULT_DIFF_POLICY.global_rules if "DSS" not in type(getattr(rule, "rule", rule)).__name__),
        _SecurityStoreRule().as_qualified(ModificationLevel.LTA_UPDATES),
    ],
    form_rule=DEFAULT_DIFF_POLICY.form_rule,
)


@dataclass(frozen=True)
class Restrictions:
    """What a signature lets later revisions do (ISO 32000-2 clause 12.8.2)."""

    doc_mdp: int | None = None
    """1 nothing but validation data, 2 fill forms and sign, 3 annotate too; none when it says nothing."""
    field_mdp: FieldMDPSpec | None = None


def restrictions(field: SignatureField) -> Restrictions:
    """DocMDP and FieldMDP of a signature, also of its field's lock dictionary."""
    doc_mdp: int | None = None
    field_mdp: FieldMDPSpec | None = None
    try:
        references = get(field.dictionary, "/Reference") or ()
        for raw in references:
            reference = raw.get_object() if isinstance(raw, generic.IndirectObject) else raw
            method = str(get(reference, "/TransformMethod"))
            parameters = get(reference, "/TransformParams") or generic.DictionaryObject()
            if method == "/DocMDP":
                level = get(parameters, "/P", 2)
                doc_mdp = int(level) if int(level) in (1, 2, 3) else 1
            elif method == "/FieldMDP" and "/Action" in parameters:
                field_mdp = FieldMDPSpec.from_pdf_object(parameters)
    except Exception:  # noqa: BLE001 - what cannot be read forbids everything
        return Restrictions(1, None)
    try:
        lock = get(field.field_dictionary, "/Lock")
        if isinstance(lock, generic.DictionaryObject):
            if doc_mdp is None and "/P" in lock:
                doc_mdp = int(lock["/P"])
            if field_mdp is None and "/Action" in lock:
                field_mdp = FieldMDPSpec.from_pdf_object(lock)
    except Exception:  # noqa: BLE001
        return Restrictions(1, field_mdp)
    return Restrictions(doc_mdp, field_mdp)


@dataclass(frozen=True)
class Comparison:
    """The changes after one signature and whether all of them are permitted."""

    changes: tuple[LaterChange, ...]
    allowed: bool
    why: str | None = None
    """Kebab-case name of the first thing that is not permitted."""


def compare(document: Document, signed: int, rules: Restrictions) -> Comparison:
    """Every revision after `signed`, judged on its own against the signed one, and put in words.

    Raises whatever pyHanko raises on objects that it cannot read; the caller turns that into a finding.
    """
    if signed + 1 >= document.revisions:
        return Comparison((), True)
    mdp = MDPPerm(rules.doc_mdp) if rules.doc_mdp in (1, 2, 3) else None
    base = _with_a_form(document, signed)
    policy = _POLICY if document.strict else _TOLERANT_POLICY
    changes: list[LaterChange] = []
    why: str | None = None
    for revision in range(signed + 1, document.revisions):
        resolver = document.reader.get_historical_resolver(revision)
        reason: str | None = None
        try:
            result = policy.apply(old=base, new=resolver, field_mdp_spec=rules.field_mdp, doc_mdp=mdp)
            level = result.modification_level
            if level is ModificationLevel.OTHER or (mdp is not None and level.value > mdp.value):
                reason = "beyond-permission"
        except SuspiciousModification as suspicion:
            reason = "field-locked" if "is locked" in str(suspicion) else "not-proven-harmless"
        previous = document.reader.get_historical_resolver(revision - 1)
        described = _describe(document, previous, resolver, revision)
        if reason is None:
            replaced = [what for what in described if what[0] == "form-field-replaced"]
            if replaced and mdp is None:
                reason = "form-field-replaced"
        changes.extend(_changes(revision, described, reason))
        why = why or reason
    return Comparison(tuple(changes[:MOST_CHANGES]), why is None, why)


def _with_a_form(document: Document, revision: int) -> HistoricalResolver:
    """The revision, with an empty form where it has none: pyHanko cannot compare a first signature with nothing.

    `/SigFlags` says that there are signatures and is shown to nobody, so a first signature may set it.
    """
    found: HistoricalResolver = document.reader.get_historical_resolver(revision)
    form = get(found.root, "/AcroForm", generic.DictionaryObject())
    latest = get(document.reader.root, "/AcroForm")
    flags = get(latest, "/SigFlags") if isinstance(latest, generic.DictionaryObject) else None
    if get(form, "/SigFlags") == flags and isinstance(get(form, "/Fields"), generic.ArrayObject):
        return found
    own: HistoricalResolver = type(found)(document.reader, revision)
    form = get(own.root, "/AcroForm")
    if not isinstance(form, generic.DictionaryObject):
        form = generic.DictionaryObject()
        form.container_ref = own.root.container_ref
        own.root[generic.NameObject("/AcroForm")] = form
    if not isinstance(get(form, "/Fields"), generic.ArrayObject):
        fields = generic.ArrayObject()
        fields.container_ref = form.container_ref
        form[generic.NameObject("/Fields")] = fields
    if isinstance(flags, int):
        form[generic.NameObject("/SigFlags")] = generic.NumberObject(int(flags))
    return own


_Described = tuple[str, int | None, str]


def _changes(revision: int, described: list[_Described], reason: str | None) -> list[LaterChange]:
    if reason is None:
        return [
            LaterChange(revision=revision, page=page, what=what, detail=detail, allowed=True)
            for what, page, detail in described
        ]
    if reason == "form-field-replaced":
        suspects = {one for one in described if one[0] == "form-field-replaced"}
    else:
        suspects = {one for one in described if one[0] not in _HARMLESS} or set(described)
    if not described:
        return [LaterChange(revision=revision, what="objects", allowed=False)]
    return [
        LaterChange(
            revision=revision, page=page, what=what, detail=detail, allowed=(what, page, detail) not in suspects
        )
        for what, page, detail in described
    ]


def _describe(document: Document, old: HistoricalResolver, new: HistoricalResolver, revision: int) -> list[_Described]:
    """What one revision did, in kebab-case names with page and detail; never raises."""
    found: dict[_Described, None] = {}
    pages_before, pages_now = _pages(old), _pages(new)
    if len(pages_before) != len(pages_now):
        turned = "pages-removed" if len(pages_now) < len(pages_before) else "pages-added"
        found[(turned, None, f"{len(pages_before)} → {len(pages_now)}")] = None
    where = {key: number for number, key in enumerate(pages_now, start=1)}
    store: set[tuple[int, int]] = set()
    try:
        if "/DSS" in new.root:
            store = {(ref.idnum, ref.generation) for ref in new.collect_dependencies(new.root.raw_get("/DSS"))}
    except Exception:  # noqa: BLE001
        store = set()
    others = 0
    for ref in sorted(new.explicit_refs_in_revision(), key=lambda each: int(each.idnum)):
        key = (int(ref.idnum), int(ref.generation))
        if key in store:
            found[("validation-data-added", None, "")] = None
            continue
        try:
            what = _object(old, new, ref, where)
        except Exception:  # noqa: BLE001
            what = ("objects", None, f"{key[0]} {key[1]}")
        if what is None:
            continue
        if what[0] == "objects":
            others += 1
            if others > 8:
                continue
        found[what] = None
    if found and any(one[0] in ("signature-added", "document-timestamp-added", "form-field-filled") for one in found):
        # Streams that come along with a field are its appearance.
        for one in [one for one in found if one[0] == "objects"]:
            del found[one]
    return list(found)


def _object(
    old: HistoricalResolver, new: HistoricalResolver, ref: Any, where: dict[tuple[int, int], int]
) -> _Described | None:
    key = (int(ref.idnum), int(ref.generation))
    now = new.get_object(generic.Reference(ref.idnum, ref.generation, new))
    before = None
    if old.reader.xrefs.get_historical_ref(ref, old.revision) is not None:
        before = old.get_object(generic.Reference(ref.idnum, ref.generation, old))
    if isinstance(now, generic.DictionaryObject):
        kind = str(get(now, "/Type", ""))
        if kind in ("/XRef", "/ObjStm"):
            return None
        if kind == "/Metadata":
            return ("metadata", None, "")
        if kind == "/DocTimeStamp" or str(get(now, "/SubFilter", "")) == "/ETSI.RFC3161":
            return ("document-timestamp-added", None, "") if before is None else ("signature-value-replaced", None, "")
        if "/ByteRange" in now:
            return ("signature-added", None, "") if before is None else ("signature-value-replaced", None, "")
        if kind == "/Page":
            return _page(before, now, where.get(key))
        if kind in ("/Catalog", "/Pages") or key == (new.root_ref.idnum, new.root_ref.generation):
            return None if _catalog_is_calm(before, now) else ("catalog", None, ", ".join(_differing(before, now)))
        if "/FT" in now or str(get(now, "/Subtype", "")) == "/Widget":
            return _field(before, now, where)
        if "/Fields" in now and ("/SigFlags" in now or "/DR" in now or "/DA" in now):
            return None
        if before is None and str(get(now, "/Subtype", "")) and "/Rect" in now:
            return ("annotation-added", _page_of(now, where), str(now["/Subtype"])[1:])
        if key == _info(new):
            return ("metadata", None, "")
    elif isinstance(now, generic.ArrayObject) and now == before:
        return None
    if before is not None and now == before and not isinstance(now, generic.StreamObject):
        return None
    page = _page_showing(old, key, where) if before is not None else None
    if page is not None:
        return ("page-content", page, "")
    return ("objects", None, f"{key[0]} {key[1]}")


def _page(before: Any, now: Any, number: int | None) -> _Described | None:
    if before is None:
        return ("pages-added", number, "")
    differing = [key for key in _differing(before, now) if key not in ("/Annots", "/Type", "/Tabs")]
    if "/Contents" in differing or "/Resources" in differing:
        return ("page-content", number, "")
    if differing:
        return ("page-properties", number, ", ".join(differing))
    return None


def _field(before: Any, now: Any, where: dict[tuple[int, int], int]) -> _Described | None:
    name = str(get(now, "/T", ""))[:80]
    page = _page_of(now, where)
    kind = str(get(now, "/FT", ""))
    if not kind:
        parent = get(now, "/Parent")
        kind = str(get(parent, "/FT", "")) if isinstance(parent, generic.DictionaryObject) else ""
        name = name or (str(get(parent, "/T", ""))[:80] if isinstance(parent, generic.DictionaryObject) else "")
    if kind == "/Sig":
        return ("signature-field-added", page, name) if before is None else ("signature-added", page, name)
    if before is None:
        return ("form-field-added", page, name)
    if not isinstance(before, generic.DictionaryObject):
        return ("form-field-replaced", page, name)
    value_before, value_now = _value(before), _value(now)
    looks = get(before, "/AP") != get(now, "/AP")
    if value_before == value_now:
        return (
            ("form-field-replaced", page, name)
            if looks and get(before, "/AP") is not None
            else ("form-field", page, name)
        )
    if value_before:
        return ("form-field-replaced", page, name)
    return ("form-field-filled", page, name)


def _value(field: Any) -> str:
    value = get(field, "/V")
    if value is None or isinstance(value, generic.NullObject):
        return ""
    text = str(value)
    return "" if text in ("/Off", "") else text


def _catalog_is_calm(before: Any, now: Any) -> bool:
    return not set(_differing(before, now)) - {
        "/AcroForm",
        "/DSS",
        "/Extensions",
        "/Metadata",
        "/Perms",
        "/Version",
        "/Kids",
        "/Count",
        "/Type",
        "/Names",
        "/NeedsRendering",
    }


def _differing(before: Any, now: Any) -> list[str]:
    if not isinstance(before, generic.DictionaryObject):
        return [] if before is None else ["?"]
    keys = {*before.keys(), *now.keys()}
    return sorted(
        str(key)
        for key in keys
        if (before.raw_get(key) if key in before else None) != (now.raw_get(key) if key in now else None)
    )


def _pages(resolver: HistoricalResolver) -> list[tuple[int, int]]:
    """The page objects in order, by object number; cut at 5,000; empty when the tree cannot be read."""
    found: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    try:
        stack = [resolver.root.raw_get("/Pages")]
        while stack and len(found) < 5000:
            raw = stack.pop()
            if not isinstance(raw, generic.IndirectObject) or (raw.idnum, raw.generation) in seen:
                continue
            seen.add((raw.idnum, raw.generation))
            node = raw.get_object()
            if not isinstance(node, generic.DictionaryObject):
                continue
            kids = get(node, "/Kids")
            if isinstance(kids, generic.ArrayObject):
                stack.extend(kids.raw_get(index) for index in range(min(len(kids), 5000) - 1, -1, -1))
            else:
                found.append((raw.idnum, raw.generation))
    except Exception:  # noqa: BLE001
        return found
    return found


def _page_of(annotation: Any, where: dict[tuple[int, int], int]) -> int | None:
    raw = annotation.raw_get("/P") if "/P" in annotation else None
    return where.get((raw.idnum, raw.generation)) if isinstance(raw, generic.IndirectObject) else None


def _page_showing(old: HistoricalResolver, key: tuple[int, int], where: dict[tuple[int, int], int]) -> int | None:
    """The page whose contents or resources use an object that was written over."""
    try:
        old._load_reverse_xref_cache()
        usages = old._get_usages_of_ref(generic.Reference(key[0], key[1], old))
    except Exception:  # noqa: BLE001
        return None
    for path in usages:
        steps = tuple(path)
        if "/Pages" not in steps or ("/Contents" not in steps and "/Resources" not in steps):
            continue
        node: Any = old.trailer_view
        last: int | None = None
        for step in steps:
            raw = node.raw_get(step)
            if isinstance(raw, generic.IndirectObject):
                last = where.get((raw.idnum, raw.generation), last)
                node = raw.get_object()
            else:
                node = raw
            if step in ("/Contents", "/Resources"):
                break
        return last
    return None


def _info(resolver: HistoricalResolver) -> tuple[int, int] | None:
    try:
        raw = resolver.trailer_view.raw_get("/Info")
    except KeyError:
        return None
    return (raw.idnum, raw.generation) if isinstance(raw, generic.IndirectObject) else None
