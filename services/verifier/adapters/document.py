"""The PDF as pyHanko reads it: strict, then tolerant; its signature fields by our own walk; its revisions."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyhanko.pdf_utils import generic, misc
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader

MOST_FIELDS = 5_000
"""More form fields than this are not walked."""
MOST_DEPTH = 60
MOST_REVISIONS = 300
MOST_SIGNATURES = 100
"""More signatures than this are not judged."""


class DocumentFault(Exception):
    """The file cannot be read as a PDF, or is beyond the limits; `reason` is a kebab-case name."""

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class _TolerantResolver(HistoricalResolver):
    """A reference to an object that is not defined is a reference to null (ISO 32000-2 clause 7.3.10)."""

    def get_object(self, ref: Any, as_metadata_stream: bool = False) -> Any:
        try:
            return super().get_object(ref, as_metadata_stream)
        except (KeyError, misc.PdfReadError) as fault:
            if self.reader.xrefs.get_historical_ref(ref, self.revision) is None:
                return generic.NullObject()
            raise misc.PdfReadError(f"object {ref.idnum} cannot be read") from fault

    def _collect_indirect_references(self, obj: Any, seen: Any, since_revision: int | None = None) -> None:
        if isinstance(obj, generic.IndirectObject):
            try:
                self.reader.xrefs.get_introducing_revision(obj.reference)
            except KeyError:
                return
        super()._collect_indirect_references(obj, seen, since_revision)  # type: ignore[no-untyped-call]


class _TolerantReader(PdfFileReader):
    def get_historical_resolver(self, revision: int) -> HistoricalResolver:
        cache = self._historical_resolver_cache
        if revision not in cache:
            cache[revision] = _TolerantResolver(self, revision)
        return cache[revision]


def get(dictionary: Any, key: str, default: Any = None) -> Any:
    """An entry with its reference followed; `dict.get` of pyHanko would not follow it."""
    return dictionary[key] if key in dictionary else default  # noqa: SIM401


@dataclass
class SignatureField:
    """One signature field that holds a value."""

    name: str
    dictionary: Any
    field_dictionary: Any
    reference: tuple[int, int] | None
    also: list[str] = field(default_factory=list)
    """Other fields that hold the very same value."""


@dataclass
class Document:
    """One file, opened."""

    data: bytes
    reader: Any
    strict: bool

    @property
    def revisions(self) -> int:
        """How many revisions are listed."""
        return int(self.reader.xrefs.total_revisions)

    def xref_offsets(self) -> list[int]:
        """Where the cross-reference section of each listed revision lies."""
        return [int(self.reader.xrefs.get_startxref_for_revision(index)) for index in range(self.revisions)]

    def offset_of(self, dictionary: Any) -> int | None:
        """Where the indirect object that holds `dictionary` begins; none when it is not in plain sight."""
        container = getattr(dictionary, "container_ref", None)
        if container is None or not isinstance(container, generic.Reference):
            return None
        place = self.reader.xrefs[container]
        return place if isinstance(place, int) else None

    def revision_of(self, dictionary: Any) -> int | None:
        """The revision that last wrote the object that holds `dictionary`."""
        container = getattr(dictionary, "container_ref", None)
        if container is None or not isinstance(container, generic.Reference):
            return None
        try:
            return int(self.reader.xrefs.get_last_change(container))
        except KeyError:
            return None

    def pages(self) -> int | None:
        """How many pages the page tree claims."""
        try:
            count = self.reader.root["/Pages"]["/Count"]
            return int(count)
        except Exception:  # noqa: BLE001
            return None


def open_pdf(data: bytes, strict: bool) -> Document:
    """Open the file.

    Raises:
        DocumentFault: it cannot be read so, is encrypted, or has too many revisions.
    """
    kind = PdfFileReader if strict else _TolerantReader
    try:
        reader = kind(io.BytesIO(data), strict=strict)
        if reader.encrypted:
            raise DocumentFault("encrypted")
        reader.root  # noqa: B018 - read the catalog now
    except DocumentFault:
        raise
    except (MemoryError, RecursionError) as fault:
        raise DocumentFault("too-deep", fault=type(fault).__name__) from fault
    except Exception as fault:
        raise DocumentFault("pdf-unreadable", fault=type(fault).__name__) from fault
    document = Document(data, reader, strict)
    if document.revisions > MOST_REVISIONS:
        raise DocumentFault("too-many-revisions", found=str(document.revisions), most=str(MOST_REVISIONS))
    return document


def signature_fields(document: Document) -> tuple[list[SignatureField], list[str]]:
    """(signature fields with a value, complaints), by our own walk of the form: one bad field does not hide the others.

    Kids that repeat are visited once; the same value under several fields is judged once, and every field is named.

    Raises:
        DocumentFault: there are more fields or signatures than the limits.
    """
    complaints: list[str] = []
    found: dict[Any, SignatureField] = {}
    for name, entry in _walk(document, complaints):
        try:
            kind = _inherited(entry, "/FT")
            value = get(entry, "/V") if "/V" in entry else None
            if kind != "/Sig" or value is None or isinstance(value, generic.NullObject):
                continue
            raw = entry.raw_get("/V")
        except Exception as fault:  # noqa: BLE001
            complaints.append(f"{name}: {type(fault).__name__}")
            continue
        reference = (raw.idnum, raw.generation) if isinstance(raw, generic.IndirectObject) else None
        key = reference or id(value)
        if key in found:
            if name != found[key].name and name not in found[key].also:
                found[key].also.append(name)
            continue
        found[key] = SignatureField(name, value, entry, reference)
        if len(found) > MOST_SIGNATURES:
            raise DocumentFault("too-many-signatures", most=str(MOST_SIGNATURES))
    return list(found.values()), complaints


def _walk(document: Document, complaints: list[str]) -> Iterator[tuple[str, Any]]:
    try:
        form = get(document.reader.root, "/AcroForm")
        fields = get(form, "/Fields") if isinstance(form, generic.DictionaryObject) else None
    except Exception as fault:  # noqa: BLE001
        complaints.append(f"AcroForm: {type(fault).__name__}")
        return
    if not isinstance(fields, generic.ArrayObject):
        return
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[str, Any, int]] = [("", raw, 0) for raw in reversed(list(_raw_items(fields)))]
    count = 0
    while stack:
        prefix, raw, depth = stack.pop()
        try:
            if isinstance(raw, generic.IndirectObject):
                key = (raw.idnum, raw.generation)
                if key in seen:
                    continue
                seen.add(key)
                entry = raw.get_object()
            else:
                entry = raw
            if not isinstance(entry, generic.DictionaryObject):
                continue
            count += 1
            if count > MOST_FIELDS:
                raise DocumentFault("too-many-fields", most=str(MOST_FIELDS))
            title = get(entry, "/T")
            name = prefix
            if title is not None:
                name = f"{prefix}.{title}" if prefix else str(title)
            kids = get(entry, "/Kids")
        except DocumentFault:
            raise
        except Exception as fault:  # noqa: BLE001
            complaints.append(f"{prefix or 'field'}: {type(fault).__name__}")
            continue
        yield (name or f"#{count}"), entry
        if isinstance(kids, generic.ArrayObject) and depth < MOST_DEPTH:
            stack.extend((name, kid, depth + 1) for kid in reversed(list(_raw_items(kids))))


def _raw_items(array: Any) -> Iterator[Any]:
    for index in range(min(len(array), MOST_FIELDS + 1)):
        yield array.raw_get(index)


def _inherited(entry: Any, key: str) -> Any:
    current = entry
    for _ in range(MOST_DEPTH):
        if key in current:
            return current[key]
        parent = get(current, "/Parent")
        if not isinstance(parent, generic.DictionaryObject):
            return None
        current = parent
    return None


def contents_of(dictionary: Any) -> bytes | None:
    """The octets of `/Contents`, or none when there is no string."""
    try:
        value = dictionary.raw_get("/Contents", decrypt=generic.EncryptedObjAccess.RAW)
        if isinstance(value, generic.IndirectObject):
            value = value.get_object()
    except Exception:  # noqa: BLE001
        return None
    if isinstance(value, generic.TextStringObject | generic.ByteStringObject):
        return bytes(value.original_bytes)
    return None


def byte_range_of(dictionary: Any) -> list[object] | None:
    """The values of `/ByteRange`, or none when there is no array."""
    try:
        value = dictionary["/ByteRange"]
        return [int(each) if isinstance(each, int) else each for each in value][:64]
    except Exception:  # noqa: BLE001
        return None


def text_of(dictionary: Any, key: str) -> str | None:
    """A name or string entry, cut to 200 characters."""
    try:
        value = get(dictionary, key)
    except Exception:  # noqa: BLE001
        return None
    return None if value is None else str(value)[:200]


def claimed_time(dictionary: Any) -> datetime | None:
    """The `/M` entry."""
    moment: Any
    try:
        moment = generic.parse_pdf_date(dictionary["/M"], strict=False)
    except Exception:  # noqa: BLE001
        return None
    if not isinstance(moment, datetime):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SecurityStore:
    """What the DSS dictionary of one revision holds (EN 319 142-1 clause 5.4.2)."""

    revision: int
    certificates: tuple[bytes, ...]
    ocsps: tuple[bytes, ...]
    crls: tuple[bytes, ...]


def security_stores(document: Document) -> list[SecurityStore]:
    """The DSS as it stands in each revision that wrote it, oldest first."""
    stores: list[SecurityStore] = []
    for revision in range(document.revisions):
        try:
            resolver = document.reader.get_historical_resolver(revision)
            root = resolver.root
            if "/DSS" not in root:
                continue
            written = {(ref.idnum, ref.generation) for ref in resolver.explicit_refs_in_revision()}
            places = {(resolver.root_ref.idnum, resolver.root_ref.generation)}
            raw = root.raw_get("/DSS")
            if isinstance(raw, generic.IndirectObject):
                places = {(raw.idnum, raw.generation)}
            store = root["/DSS"]
            if not isinstance(store, generic.DictionaryObject):
                continue
            for key in ("/Certs", "/OCSPs", "/CRLs"):
                entry = store.raw_get(key) if key in store else None
                if isinstance(entry, generic.IndirectObject):
                    places.add((entry.idnum, entry.generation))
            if not places & written:
                continue
            stores.append(
                SecurityStore(revision, _streams(store, "/Certs"), _streams(store, "/OCSPs"), _streams(store, "/CRLs"))
            )
        except Exception:  # noqa: BLE001, S112 - a store that cannot be read serves nobody
            continue
    return stores


def _streams(store: Any, key: str) -> tuple[bytes, ...]:
    found: list[bytes] = []
    try:
        entries = get(store, key)
    except Exception:  # noqa: BLE001
        return ()
    if not isinstance(entries, generic.ArrayObject):
        return ()
    for index in range(min(len(entries), 1000)):
        try:
            stream = entries[index]
            if isinstance(stream, generic.StreamObject):
                found.append(bytes(stream.data))
        except Exception:  # noqa: BLE001, S112 - a dangling reference is null
            continue
    return tuple(found)
