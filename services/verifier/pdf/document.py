"""A PDF as the verifier sees it: revisions, every signature value that a form field holds, and its validation data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from domain.definitions import definitions
from services.verifier.pdf.objects import MOST_FOUND, File, Revision, Unreadable
from services.verifier.pdf.syntax import Misformed, Name, Ref, Stream, Value, head
from services.verifier.pdf.text import date, text

__all__ = ["Document", "FieldLock", "Revision", "SecurityStore", "SignatureValue", "Unreadable"]

MOST_FIELDS = 5_000
"""More form fields than this are not walked."""
MOST_DEPTH = 60
MOST_SIGNATURES = 100
"""More signatures than this are not judged."""
MOST_TEXT = 200
MOST_HEAD = 1_000
"""Octets in which an object stream says what it is."""
MOST_EVIDENCE = 1_000
"""More certificates, responses or lists than this in one store are not read."""


@dataclass(frozen=True)
class FieldLock:
    """Which fields a signature locks (ISO 32000-2 clause 12.8.2.4): `All`, those named, or all but those named."""

    action: str
    fields: tuple[str, ...] = ()

    def locks(self, name: str) -> bool:
        """Whether the field of this fully qualified name is locked; a name stands for its descendants too."""
        named = any(name == one or name.startswith(one + ".") for one in self.fields)
        if self.action == "Include":
            return named
        return not named if self.action == "Exclude" else True


@dataclass(frozen=True)
class SignatureValue:
    """What one signature field holds, whatever its SubFilter."""

    name: str
    """The fully qualified name of the field."""
    also: tuple[str, ...]
    """Other fields that hold the very same value."""
    byte_range: list[object] | None
    contents: bytes | None
    """The decoded string `/Contents`, as read."""
    offset: int | None
    """Where the indirect object that holds the value begins; none when it is not in plain sight."""
    revision: int | None
    """The revision, from 0, that last wrote that object."""
    type: str | None
    filter: str | None
    sub_filter: str | None
    claimed_time: datetime | None
    """The `/M` entry, aware."""
    reason: str | None
    location: str | None
    signer_name: str | None
    certificates: tuple[bytes, ...]
    """The `/Cert` entry of adbe.x509.rsa_sha1."""
    doc_mdp: int | None
    """1 nothing but validation data may follow, 2 forms and signatures, 3 annotations too; none when not said."""
    field_mdp: FieldLock | None
    certification: bool
    """Whether the catalog's `/Perms` names it as the document's certification."""


@dataclass(frozen=True)
class SecurityStore:
    """The validation data of one revision that wrote them, DER (ETSI EN 319 142-1 clause 5.4.2)."""

    revision: int
    certificates: tuple[bytes, ...]
    ocsps: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    vri: tuple[str, ...]
    """The names of the VRI entries: SHA-1 of a signature value each, upper-case hexadecimal."""


class Document:
    """One file, opened. Nothing but Unreadable leaves it, whatever the bytes are."""

    def __init__(self, data: bytes) -> None:
        """Read the cross-reference chain; everything else is read when asked for.

        Raises:
            Unreadable: the bytes are no PDF, need a password, or are beyond the limits.
        """
        self.data = data
        self.file = File(data)
        self.latest = len(self.file.revisions) - 1
        self.encrypted = self.file.key is not None
        self.views: dict[int, object] = {}
        self.differences: dict[tuple[int, int], object] = {}
        self.steps: object = None
        """These three are what `changes` keeps of the document, so that no two signatures ask for the same."""

    @staticmethod
    def open(data: bytes) -> Document:
        """Open a file. Raises Unreadable as the constructor does."""
        return Document(data)

    @property
    def tolerant(self) -> bool:
        """Whether the file breaks the standard, as far as it was read until now."""
        return self.file.tolerant

    @property
    def complaints(self) -> tuple[str, ...]:
        """What breaks the standard, as far as it was read until now."""
        return tuple(self.file.complaints)

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """The revisions, oldest first; both sections of a linearized file, and of a hybrid, are one."""
        return self.file.revisions

    def xref_offsets(self) -> list[int]:
        """What `startxref` says for each revision; nothing where the sections were of no use and were rebuilt."""
        return [] if self.file.rebuilt else [revision.xref_offset for revision in self.revisions]

    @cached_property
    def hidden(self) -> int | None:
        """The number of an object with a definition that no reader of the cross-references uses, but a viewer that
        mends the file would: behind the one in use, or never named by any; none where there is none.
        """
        if self.file.rebuilt:
            return None
        in_use: dict[int, int] = {}
        sections = self.file.section_values()
        for count, (number, begins) in enumerate(definitions(self.data)):
            if number not in in_use:
                in_use[number] = self._in_use(number)
            # Cross-reference streams need not list themselves.
            if (begins > in_use[number] and begins not in sections) or count > MOST_FOUND:
                return number
            if b"ObjStm" in self.data[begins : begins + MOST_HEAD]:
                for inner in self.file.packed(self.file.place(number, self.latest), self.latest):
                    if inner not in in_use:
                        in_use[inner] = self._in_use(inner)
                    if begins > in_use[inner]:
                        return inner
        return None

    def _in_use(self, number: int) -> int:
        """Where the value begins that is in use, or that of the object stream in which it lies."""
        place = self.file.place(number, self.latest)
        if place is None:
            freed = self.file.last_written(number, self.latest) is not None
            return len(self.data) if freed else -1
        begin = head(self.data, place if isinstance(place, int) else place[0])
        return begin[2] if begin is not None else -1

    def revisions_covered(self, end: int) -> int:
        """The last revision whose section lies wholly before `end`, counted from the first on; -1 for none."""
        covered = -1
        for revision in self.revisions:
            if revision.end > end:
                break
            covered = revision.index
        return covered

    def pages(self) -> int | None:
        """How many pages the page tree claims."""
        catalog = self.file.catalog(self.latest)
        tree = self._get(catalog, "Pages") if isinstance(catalog, dict) else None
        count = self._get(tree, "Count") if isinstance(tree, dict) else None
        return count if type(count) is int and 0 <= count < 2**31 else None

    def _get(self, dictionary: dict[str, Value], key: str) -> Value:
        return self.file.get(dictionary.get(key), self.latest)

    # --- signatures ----------------------------------------------------------------------------------------------

    @cached_property
    def signatures(self) -> tuple[SignatureValue, ...]:
        """Every signature field with a value, in the order of the form; one bad field does not hide the others.

        Kids that repeat are visited once; the same value under several fields is listed once, and every field is named.

        Raises:
            Unreadable: there are more fields or signatures than the limits.
        """
        found: dict[object, tuple[str, dict[str, Value], dict[str, Value], int | None]] = {}
        also: dict[object, list[str]] = {}
        for field in fields(self.file, self.latest):
            if field.kind != "Sig":
                continue
            raw = field.dictionary.get("V")
            value = self.file.get(raw, self.latest)
            if value is None:
                continue
            if not isinstance(value, dict):
                self.file.complain(f"{field.name}: no signature dictionary")
                continue
            key: object = raw.number if isinstance(raw, Ref) else id(value)
            if key in found:
                if field.name != found[key][0] and field.name not in also[key]:
                    also[key].append(field.name)
                continue
            holder = raw.number if isinstance(raw, Ref) else field.holder
            found[key] = (field.name, value, field.dictionary, holder)
            also[key] = []
            if len(found) > MOST_SIGNATURES:
                raise Unreadable("too-many-signatures", most=str(MOST_SIGNATURES))
        certified = self._certified()
        return tuple(
            self._signature(name, value, dictionary, holder, tuple(also[key]), key == certified)
            for key, (name, value, dictionary, holder) in found.items()
        )

    def _certified(self) -> int | None:
        catalog = self.file.catalog(self.latest)
        permissions = self._get(catalog, "Perms") if isinstance(catalog, dict) else None
        raw = permissions.get("DocMDP") if isinstance(permissions, dict) else None
        return raw.number if isinstance(raw, Ref) else None

    def _signature(
        self,
        name: str,
        value: dict[str, Value],
        field: dict[str, Value],
        holder: int | None,
        also: tuple[str, ...],
        certification: bool,
    ) -> SignatureValue:
        byte_range = self._get(value, "ByteRange")
        contents = self._get(value, "Contents")
        place = None if holder is None else self.file.place(holder, self.latest)
        doc_mdp, lock = self._restrictions(value, field)
        moment = self._get(value, "M")
        return SignatureValue(
            name=name,
            also=also,
            byte_range=[self.file.get(each, self.latest) for each in byte_range[:64]]
            if isinstance(byte_range, list)
            else None,
            contents=contents if isinstance(contents, bytes) else None,
            offset=place if isinstance(place, int) else None,
            revision=None if holder is None else self.file.last_written(holder, self.latest),
            type=self._name(value, "Type"),
            filter=self._name(value, "Filter"),
            sub_filter=self._name(value, "SubFilter"),
            claimed_time=date(moment) if isinstance(moment, bytes) else None,
            reason=self._text(value, "Reason"),
            location=self._text(value, "Location"),
            signer_name=self._text(value, "Name"),
            certificates=self._certificates(value),
            doc_mdp=doc_mdp,
            field_mdp=lock,
            certification=certification,
        )

    def _name(self, dictionary: dict[str, Value], key: str) -> str | None:
        value = self._get(dictionary, key)
        return str(value)[:MOST_TEXT] if isinstance(value, Name) else None

    def _text(self, dictionary: dict[str, Value], key: str) -> str | None:
        value = self._get(dictionary, key)
        return text(value)[:MOST_TEXT] if isinstance(value, bytes) else None

    def _certificates(self, value: dict[str, Value]) -> tuple[bytes, ...]:
        held = self._get(value, "Cert")
        each = [self.file.get(one, self.latest) for one in held[:64]] if isinstance(held, list) else [held]
        return tuple(one for one in each if isinstance(one, bytes))

    def _restrictions(self, value: dict[str, Value], field: dict[str, Value]) -> tuple[int | None, FieldLock | None]:
        """(DocMDP, FieldMDP) of a signature and of its field's lock; what cannot be read forbids everything."""
        level: int | None = None
        lock: FieldLock | None = None
        references = self._get(value, "Reference")
        for raw in references[:64] if isinstance(references, list) else ():
            reference = self.file.get(raw, self.latest)
            if not isinstance(reference, dict):
                continue
            method = self._get(reference, "TransformMethod")
            parameters = self._get(reference, "TransformParams")
            parameters = parameters if isinstance(parameters, dict) else {}
            if method == "DocMDP":
                level = self._level(parameters, 2)
            elif method == "FieldMDP" and "Action" in parameters:
                lock = self._lock(parameters)
        own = self._get(field, "Lock")
        if isinstance(own, dict):
            if level is None and "P" in own:
                level = self._level(own, 1)
            if lock is None and "Action" in own:
                lock = self._lock(own)
        return level, lock

    def _level(self, parameters: dict[str, Value], default: int) -> int:
        level = self._get(parameters, "P")
        if level is None:
            return default
        return level if type(level) is int and level in (1, 2, 3) else 1

    def _lock(self, parameters: dict[str, Value]) -> FieldLock:
        action = self._get(parameters, "Action")
        named = self._get(parameters, "Fields")
        each = [self.file.get(one, self.latest) for one in named[:MOST_FIELDS]] if isinstance(named, list) else []
        return FieldLock(
            str(action) if action in ("All", "Include", "Exclude") else "All",
            tuple(text(one) for one in each if isinstance(one, bytes)),
        )

    @cached_property
    def usage_rights(self) -> frozenset[tuple[int, int, int, int]]:
        """The byte ranges of usage rights signatures, which license a viewer's functions and sign for nobody.

        They stand in the catalog's `/Perms` and in no field (ISO 32000-1 clause 12.8.2.3, deprecated since).
        """
        found: set[tuple[int, int, int, int]] = set()
        for revision in range(len(self.revisions)):
            catalog = self.file.catalog(revision)
            permissions = self.file.get(catalog.get("Perms"), revision) if isinstance(catalog, dict) else None
            if not isinstance(permissions, dict):
                continue
            for key in ("UR", "UR3"):
                value = self.file.get(permissions.get(key), revision)
                held = self.file.get(value.get("ByteRange"), revision) if isinstance(value, dict) else None
                each = [self.file.get(one, revision) for one in held[:4]] if isinstance(held, list) else []
                if len(each) == 4 and all(type(one) is int for one in each):
                    found.add((each[0], each[1], each[2], each[3]))
        return frozenset(found)

    # --- validation data -----------------------------------------------------------------------------------------

    @cached_property
    def security_stores(self) -> tuple[SecurityStore, ...]:
        """The DSS dictionary as it stands in each revision that wrote it, oldest first."""
        stores: list[SecurityStore] = []
        last: tuple[object, ...] | None = None
        for revision in range(len(self.revisions)):
            state = self._store_state(revision)
            if state is None or state == last:
                continue
            last = state
            store = self.file.get(self.file.catalog(revision).get("DSS"), revision)
            vri = self.file.get(store.get("VRI"), revision)
            stores.append(
                SecurityStore(
                    revision,
                    self._evidence(store, "Certs", revision),
                    self._evidence(store, "OCSPs", revision),
                    self._evidence(store, "CRLs", revision),
                    tuple(sorted(str(key) for key in vri if key != "Type"))[:MOST_EVIDENCE]
                    if isinstance(vri, dict)
                    else (),
                )
            )
        return tuple(stores)

    def _store_state(self, revision: int) -> tuple[object, ...] | None:
        """Where the store and its lists lie: another place is another state."""
        catalog = self.file.catalog(revision)
        raw = catalog.get("DSS") if isinstance(catalog, dict) else None
        store = self.file.get(raw, revision)
        if not isinstance(store, dict):
            return None
        root = self.file.trailer(revision).get("Root")
        holders = [raw if isinstance(raw, Ref) else root]
        holders += [store[key] for key in ("Certs", "OCSPs", "CRLs") if isinstance(store.get(key), Ref)]
        return tuple(self.file.place(one.number, revision) if isinstance(one, Ref) else None for one in holders)

    def _evidence(self, store: dict[str, Value], key: str, revision: int) -> tuple[bytes, ...]:
        held = self.file.get(store.get(key), revision)
        found: list[bytes] = []
        for raw in held[:MOST_EVIDENCE] if isinstance(held, list) else ():
            stream = self.file.get(raw, revision)
            if isinstance(stream, Stream):
                try:
                    found.append(self.file.decoded(stream, revision))
                except Misformed:
                    self.file.complain(f"{key} of the DSS")
        return tuple(found)


@dataclass(frozen=True)
class Field:
    """One node of the form: a field, or a widget of one."""

    name: str
    """The fully qualified name."""
    dictionary: dict[str, Value]
    kind: str | None
    """`/FT`, also inherited: `Sig`, `Tx`, `Btn`, `Ch`."""
    number: int | None
    """Its object number; none when it is direct."""
    holder: int | None
    """The number of the object that holds it."""
    parent: int | None
    """The place of its parent in the walk."""
    named: bool
    """Whether it has a partial name of its own; a widget of a field has none."""


def fields(file: File, revision: int) -> Iterator[Field]:
    """Every node of the form as a revision sees it, parents first; kids that repeat are visited once.

    Raises:
        Unreadable: there are more fields than the limit.
    """
    catalog = file.catalog(revision)
    form_raw = catalog.get("AcroForm") if isinstance(catalog, dict) else None
    form = file.get(form_raw, revision)
    listed_raw = form.get("Fields") if isinstance(form, dict) else None
    listed = file.get(listed_raw, revision)
    if not isinstance(listed, list):
        return
    root = file.trailer(revision).get("Root")
    holder = next((raw.number for raw in (listed_raw, form_raw, root) if isinstance(raw, Ref)), None)
    seen: set[int] = set()

    def fresh(kids: list[Value]) -> list[Value]:
        once: list[Value] = []
        for raw in kids:
            if isinstance(raw, Ref):
                if raw.number in seen:
                    continue
                seen.add(raw.number)
            once.append(raw)
        return once[::-1]

    stack: list[tuple[str, str | None, Value, int | None, int | None, int]] = [
        ("", None, raw, holder, None, 0) for raw in fresh(listed)
    ]
    count = 0
    while stack:
        prefix, kind, raw, holder, parent, depth = stack.pop()
        number = raw.number if isinstance(raw, Ref) else None
        entry = file.get(raw, revision)
        if not isinstance(entry, dict):
            continue
        if count >= MOST_FIELDS:
            raise Unreadable("too-many-fields", most=str(MOST_FIELDS))
        title = file.get(entry.get("T"), revision)
        named = isinstance(title, bytes)
        name = prefix
        if named:
            own = text(title)[:MOST_TEXT]
            name = f"{prefix}.{own}" if prefix else own
        own_kind = file.get(entry.get("FT"), revision)
        kind = str(own_kind) if isinstance(own_kind, Name) else kind
        inside = number if number is not None else holder
        yield Field(name or f"#{count + 1}", entry, kind, number, inside, parent, named)
        kids = file.get(entry.get("Kids"), revision)
        if isinstance(kids, list) and depth >= MOST_DEPTH:
            file.complain("form nested too deeply")
        elif isinstance(kids, list):
            stack.extend((name, kind, kid, inside, count, depth + 1) for kid in fresh(kids))
        count += 1
