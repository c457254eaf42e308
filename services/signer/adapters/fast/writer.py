"""PAdES by splicing: an incremental revision is written beside the file, hashed as it goes, and read back."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
from binascii import hexlify
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from events.errors import Refused, Unavailable
from events.values import BaselineLevel, Digest
from services.signer.adapters.fast import cms, pages
from services.signer.adapters.fast.check import check
from services.signer.adapters.fast.form import (
    NOWHERE,
    Catalog,
    Form,
    claims_pdfa_1,
    flag_signatures,
    may_be_signed,
    no_appearance,
    place_field,
    references,
    widget,
)
from services.signer.adapters.fast.pages import Leaf, last_page, leaves, numbers
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.revision import Revision, repeated
from services.signer.adapters.fast.store import Store
from services.signer.adapters.fast.syntax import Declined, Dictionary, Octets, Ref, reference, text_string
from services.signer.adapters.release import (
    CLOSING_TRIES,
    LASTING,
    TIMED,
    TooLarge,
    may_begin,
    no_end,
    no_room,
    not_ours,
    to_store,
)
from services.signer.model import (
    Box,
    Evidence,
    Passed,
    Prepared,
    SignedFile,
    SignedRevision,
    SigningOrder,
    Token,
    WrittenBy,
    default_place,
    within,
)
from services.signer.ports import KeyStore, StatusSource, TimestampAuthority

if TYPE_CHECKING:
    from collections.abc import Iterator

INLINE = 4 * 1024 * 1024
"""Octets of a file that is worked on in the caller's own thread: its hash takes 2 to 4 ms, a hop to another 0.1."""
CHUNK = 1024 * 1024
BYTE_RANGE = 50
"""Room for the four numbers of /ByteRange, brackets included."""

T = TypeVar("T")


class Draft:
    """A file while it is signed: the base as it went by, what was added, and the digest of both so far.

    `tokens` are the timestamps that came and were checked, by the digest that each is over.
    """

    __slots__ = ("added", "all", "base", "beyond", "catalog", "ends_line", "file", "form", "tokens", "trailer")

    def __init__(self, file: File, catalog: Catalog, form: Form, base: Passed) -> None:
        self.file = file
        self.catalog = catalog
        self.form = form
        self.base = base
        self.all = base.fork()
        self.added = bytearray()
        self.beyond = file.beyond
        self.trailer = repeated(file, base.digest()[:16])
        self.ends_line = file.data[file.size - 1 : file.size] in (b"\n", b"\r")
        self.tokens: dict[bytes, bytes] = {}

    def revision(self) -> Revision:
        """A new revision after all that is there."""
        self.file.start()
        return Revision(self.file, self.base.size + len(self.added), self.beyond)

    def write(self, revision: Revision) -> dict[int, int]:
        """Append a revision; where in the whole file each of its objects' values begins."""
        fresh, values = revision.write(self.trailer, on_a_new_line=not self.ends_line)
        self.added += fresh
        self.beyond, self.ends_line = revision.beyond, True
        return values

    def close(self) -> None:
        """Count what was added since into the digest of all."""
        self.all.take(memoryview(self.added)[self.all.size - self.base.size :])


class Hole:
    """A written revision with a hole for `/Contents`; `gap` are octets of the whole file, brackets included."""

    __slots__ = ("draft", "gap")

    def __init__(self, draft: Draft, gap: tuple[int, int]) -> None:
        self.draft = draft
        self.gap = gap

    @classmethod
    def dig(cls, draft: Draft, revision: Revision, value: Ref, room: int, before: bytes, after: bytes) -> Hole:
        """Write the revision, its signature dictionary being `before`, /ByteRange and /Contents, `after`."""
        text = b"%b /ByteRange %b /Contents <%b>%b" % (before, b" " * BYTE_RANGE, b"0" * (2 * room), after)
        revision.put(value, text)
        at = draft.write(revision)[value.number]
        ranges = at + len(before) + len(b" /ByteRange ")
        start = ranges + BYTE_RANGE + len(b" /Contents ")
        end = start + 2 * room + 2
        size = draft.base.size
        told = b"[0 %d %d %d]" % (start, end, size + len(draft.added) - end)
        draft.added[ranges - size : ranges - size + len(told)] = told
        return cls(draft, (start, end))

    def digest(self) -> bytes:
        """SHA-256 over everything but the hole, going on from the digest of what was there before."""
        view, size = memoryview(self.draft.added), self.draft.base.size
        before = self.draft.all.size - size
        state = self.draft.all.fork().take(view[before : self.gap[0] - size])
        return state.take(view[self.gap[1] - size :]).digest()

    def fill(self, content: bytes) -> None:
        """Fill the hole.

        Raises:
            TooLarge: it does not fit.
        """
        start, end = self.gap[0] + 1 - self.draft.base.size, self.gap[1] - 1 - self.draft.base.size
        digits = hexlify(content)
        if len(digits) > end - start:
            raise TooLarge
        self.draft.added[start : start + len(digits)] = digits
        self.draft.close()


class FastWriter:
    """A `PadesWriter` for files of the usual kinds; it declines the others before a key has moved.

    Small files are worked on in the caller's thread, larger ones in another.
    """

    def __init__(self, keys: KeyStore, authority: TimestampAuthority, status: StatusSource) -> None:
        self._keys = keys
        self._authority = authority
        self._status = status

    async def sign(self, pdf: bytes, order: SigningOrder, evidence: Evidence) -> SignedRevision:
        """Sign `pdf` as ordered and check the result before giving it out (ETSI EN 319 142-1 clause 6.3).

        `evidence` is the status material of the signer's path; the timestamp authority's is fetched here.

        Raises:
            Declined: the file has something that the other writer is for; no key has moved.
            Refused: the PDF may not be signed, or the self-check failed.
            Unavailable: no trusted time or no status material; nothing is released.
        """
        apart = len(pdf) > INLINE
        base = await _work(apart, Passed, pdf)
        draft = await self._revisions(pdf, base, order, evidence, apart=apart)

        def finish() -> bytes:
            output = b"".join((pdf, draft.added))
            if not output.startswith(pdf):
                raise RuntimeError("joined octets begin with others")
            self._check(output, draft, order)
            return output

        output = await _work(apart, finish)
        digest = Digest.from_raw(draft.all.digest())
        return SignedRevision(output, digest, order.field, order.level, order.signed_at, WrittenBy.FAST)

    async def sign_file(self, source: Path, target: Path, order: SigningOrder, evidence: Evidence) -> SignedFile:
        """Sign a file of any size into another at constant memory: it is copied, and the copy is hashed once.

        `target` must not exist; it appears only when it is whole and was checked. It is not synced to disk.

        Raises:
            Declined: the file has something that the other writer is for; no key has moved.
            Refused: the PDF may not be signed, or the self-check failed.
            Unavailable: no trusted time or no status material, or the files cannot be read or written.
        """
        draft_path = target.with_name(f".{target.name}.part")
        with _files(source, draft_path) as (data, copy):
            base = await _work(True, _copied, source, copy)
            draft = await self._revisions(data, base, order, evidence, apart=True)

            def finish() -> None:
                _write_all(copy, draft.added)
                with draft_path.open("rb") as written, mmap.mmap(written.fileno(), 0, access=mmap.ACCESS_READ) as view:
                    # What precedes was hashed as it stands in this file; its end is compared.
                    if len(view) != draft.all.size or view[base.size :] != draft.added:
                        raise RuntimeError("the file is not what was written")
                    self._check(view, draft, order)
                os.link(draft_path, target)

            await _work(True, finish)
        digest = Digest.from_raw(draft.all.digest())
        return SignedFile(target, draft.all.size, digest, order.field, order.level, order.signed_at)

    @staticmethod
    def _check(output: Octets, draft: Draft, order: SigningOrder) -> None:
        check(
            output,
            draft.base,
            field=order.field,
            certificate=order.chain[0],
            algorithm=order.redemption.algorithm,
            level=order.level,
            tokens=draft.tokens,
        )

    async def _revisions(
        self, data: Octets, base: Passed, order: SigningOrder, evidence: Evidence, *, apart: bool
    ) -> Draft:
        may_begin(base.digest(), order, evidence)
        for attempt in (1, 2):
            try:
                draft, token = await self._signature(data, base, order, apart=apart)
                break
            except TooLarge:
                if attempt == 2:
                    raise no_room() from None
        if token is not None and order.level in LASTING:
            await self._prolong(draft, order, token, evidence)
        return draft

    async def _signature(
        self, data: Octets, base: Passed, order: SigningOrder, *, apart: bool
    ) -> tuple[Draft, Token | None]:
        """The draft with the signature, and the timestamp of it."""
        template = cms.template(order.chain, order.redemption.algorithm)
        timed = order.level in TIMED
        room = template.room(self._authority.room(steady=self._keys.waits) if timed else 0)
        draft, hole = await _work(apart, _prepare, data, base, order, room)
        attributes = template.attributes(hole.digest())
        # The permit is made from the octets, not from what this writer says of them.
        permit = order.redemption.permit(Prepared(base, draft.added, hole.gap, attributes))
        signature = await self._keys.sign(permit)
        token = None
        if timed:
            stamped = hashlib.sha256(signature).digest()
            token = await self._authority.timestamp(Digest.from_raw(stamped))
            draft.tokens[stamped] = token.der
        content = template.content_info(attributes, signature, token.der if token is not None else None)
        hole.fill(content)
        return draft, token

    async def _prolong(self, draft: Draft, order: SigningOrder, first: Token, evidence: Evidence) -> None:
        """Add the store in a revision of its own and, at B-LTA, a document timestamp over it."""
        closed = order.level is BaselineLevel.LTA
        material = await self._status.evidence(first.path)
        needed = to_store(order, evidence, first, material)
        given, served = [evidence, material], [first.needs]
        try:
            _add_store(draft, needed, given)
            for _ in range(CLOSING_TRIES if closed else 0):
                before = _Before(draft)
                hole = _prepare_timestamp(draft, self._authority.room(steady=False))
                stamped = hole.digest()
                token = await self._authority.timestamp(Digest.from_raw(stamped))
                draft.tokens[stamped] = token.der
                material = await self._status.evidence(token.path)
                complete = token.needs in served
                if complete:
                    try:
                        hole.fill(token.der)
                        return
                    except TooLarge:
                        pass
                # An authority may sign its next token with another certificate: then its material has to be in, too.
                before.restore(draft)
                if not complete:
                    needed += material
                    given.append(material)
                    served.append(token.needs)
                    _add_store(draft, needed, given)
            if closed:
                raise no_end()
        except Declined as fault:
            raise not_ours(
                f"a file whose second reading failed ({fault.why})", "one that can be extended again"
            ) from fault


class _Before:
    """A draft as it was before a revision that may have to be thrown away."""

    __slots__ = ("beyond", "size", "written", "xref")

    def __init__(self, draft: Draft) -> None:
        self.size = len(draft.added)
        self.beyond = draft.beyond
        self.xref = draft.file.xref
        self.written = dict(draft.file.written)

    def restore(self, draft: Draft) -> None:
        del draft.added[self.size :]
        draft.beyond = self.beyond
        draft.file.go_back(self.xref, dict(self.written))
        draft.catalog = Catalog.of(draft.file)
        draft.form = Form.of(draft.catalog)


async def _work(apart: bool, work: Callable[..., T], *arguments: object) -> T:
    """Do it here, or in another thread."""
    return await asyncio.to_thread(work, *arguments) if apart else work(*arguments)


def _prepare(data: Octets, base: Passed, order: SigningOrder, room: int) -> tuple[Draft, Hole]:
    """Everything up to the key: field, stamp, signature dictionary, in a revision with a hole."""
    file = File.open(data)
    catalog = Catalog.of(file)
    may_be_signed(catalog, certify=order.certify is not None)
    if order.level in LASTING:
        Store.of(catalog)
    form = Form.of(catalog)
    draft = Draft(file, catalog, form, base)
    revision = draft.revision()
    value = revision.reserve()
    lock = None
    held = form.names.get(order.field)
    if held is not None:
        lock = _fill_field(revision, catalog, form, held, value, order)
    else:
        if form.fields and order.certify is not None:
            _only_the_first_certifies(file, form)
        leaf, rect = _place(file, catalog, order)
        appearance = _stamp(revision, catalog, leaf, rect, order)
        field = revision.add(widget(order.field, value, leaf, rect, appearance))
        place_field(revision, catalog, form, leaf, order.field, field)
    if order.certify is not None:
        catalog.put(b"/Perms", b"<< /DocMDP %b >>" % bytes(value))
    catalog.write(revision)
    reason = b" /Reason %b" % text_string(order.reason) if order.reason else b""
    before = b"<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached"
    after = b" /M %b%b%b >>" % (_date(order), reason, references(file, catalog.ref, order.certify, lock))
    return draft, Hole.dig(draft, revision, value, room, before, after)


def _date(order: SigningOrder) -> bytes:
    """The claimed time (ISO 32000-2 clause 7.9.4), which EN 319 142-1 clause 6.3 wants in /M."""
    if order.signed_at.tzinfo is None:
        raise ValueError("a time without an offset")
    at = order.signed_at.astimezone(UTC)
    return b"(D:%04d%02d%02d%02d%02d%02d+00'00')" % (at.year, at.month, at.day, at.hour, at.minute, at.second)


def _only_the_first_certifies(file: File, form: Form) -> None:
    for ref in form.fields:
        field = file.read(ref)
        if field.get(b"/FT") == b"/Sig" and field.get(b"/V") is not None:
            raise Declined("a certification after another signature")


def _fill_field(
    revision: Revision, catalog: Catalog, form: Form, held: Ref, value: Ref, order: SigningOrder
) -> Dictionary | None:
    """Put the signature into an empty field of the file; the field's lock, if it has one."""
    file = revision.file
    field = file.read(held)
    if field.get(b"/FT") != b"/Sig" or b"/V" in field.spans or b"/Kids" in field.spans or b"/SV" in field.spans:
        raise Declined("a field that is signed, has seed values or is no plain signature field")
    if order.certify is not None:
        _only_the_first_certifies(file, form)
    rect = numbers(file, field.get(b"/Rect"))
    if rect is None or len(rect) != 4 or field.get(b"/Subtype") != b"/Widget":
        raise Declined("a field without a widget of its own")
    entries = {b"/V": bytes(value)}
    if order.stamped and rect[0] != rect[2] and rect[1] != rect[3]:
        named = reference(field.get(b"/P"))
        leaf = next((leaf for leaf in leaves(file, catalog.content, backwards=True) if leaf.ref == named), None)
        if leaf is None:
            raise Declined("a field that does not say on which page it is")
        shown = _stamp(revision, catalog, leaf, (rect[0], rect[1], rect[2], rect[3]), order)
        if shown is not None:
            entries[b"/AP"] = b"<< /N %b >>" % bytes(shown)
            field = field.without(b"/AS")
    revision.put(held, field.put(entries))
    flag_signatures(revision, catalog, form)
    return file.dictionary(field.get(b"/Lock"))


def _place(file: File, catalog: Catalog, order: SigningOrder) -> tuple[Leaf, tuple[float, float, float, float]]:
    """The page of the field and its rectangle in the page's own units, as ordered or by default.

    Raises:
        Refused: the order names a page that is not there, or a box outside it or over something.
    """
    if not order.stamped:
        return last_page(file, catalog.content), NOWHERE
    if order.placement is None:
        looked: list[Leaf] = []

        def sizes() -> Iterator[tuple[float, float]]:
            for leaf in leaves(file, catalog.content, backwards=True):
                looked.append(leaf)
                yield leaf.page(file).size

        found = default_place(order.index, sizes(), lambda back: looked[back].taken(file))
        if not looked:
            raise Declined("no pages")
        return (
            (looked[0], NOWHERE) if found is None else (looked[found[0]], looked[found[0]].page(file).place(found[1]))
        )
    here = pages.page_number(file, catalog.content, order.placement.page)
    if isinstance(here, int):
        raise Refused(
            "placement-page",
            found=f"page {order.placement.page}",
            expected=f"one of the {here} pages",
            remedy="place the signature on a page of the document",
        )
    box: Box = within(order.placement, *here.page(file).size)
    if any(box.overlaps(other) for other in here.taken(file)):
        raise Refused(
            "placement-taken",
            found="a box over another signature, form field or annotation",
            expected="a free place: a stamp that covers something makes validators suspicious",
            remedy="place the signature elsewhere",
        )
    return here, here.page(file).place(box)


def _stamp(
    revision: Revision, catalog: Catalog, leaf: Leaf, rect: tuple[float, float, float, float], order: SigningOrder
) -> Ref | None:
    if rect == NOWHERE:
        return no_appearance(revision, catalog)
    from services.signer.adapters.fast import stamp  # fonts are read only where something is drawn

    wide, high = abs(rect[2] - rect[0]), abs(rect[3] - rect[1])
    page = leaf.page(revision.file)
    if page.rotation in (90, 270):
        wide, high = high, wide
    listed = claims_pdfa_1(catalog)
    return stamp.draw(revision, order, wide * page.unit, high * page.unit, page.matrix, listed=listed)


def _add_store(draft: Draft, needed: Evidence, given: Sequence[Evidence]) -> None:
    revision, catalog = draft.revision(), draft.catalog
    Store.of(catalog).add(revision, catalog, needed, given)
    catalog.write(revision)
    draft.write(revision)
    draft.close()


def _prepare_timestamp(draft: Draft, room: int) -> Hole:
    """A document timestamp in an invisible field on the last page (EN 319 142-1 clause 5.4.3)."""
    revision, catalog, form = draft.revision(), draft.catalog, draft.form
    value = revision.reserve()
    leaf = last_page(draft.file, catalog.content)
    name = form.unused("timestamp")
    field = revision.add(widget(name, value, leaf, NOWHERE, no_appearance(revision, catalog)))
    place_field(revision, catalog, form, leaf, name, field)
    catalog.write(revision)
    before = b"<< /Type /DocTimeStamp /Filter /Adobe.PPKLite /SubFilter /ETSI.RFC3161"
    return Hole.dig(draft, revision, value, room, before, b" >>")


@contextmanager
def _files(source: Path, draft: Path) -> Iterator[tuple[mmap.mmap, int]]:
    """The source mapped for reading, the draft open for writing; the draft's name is gone afterwards."""
    try:
        with source.open("rb") as read, mmap.mmap(read.fileno(), 0, access=mmap.ACCESS_READ) as data:
            copy = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                yield data, copy
            finally:
                os.close(copy)
                draft.unlink(missing_ok=True)
    except (OSError, ValueError) as fault:
        raise Unavailable(
            "signing-files",
            found=f"files that cannot be read or written ({type(fault).__name__})",
            expected="a file to sign, and a new name to write to",
            remedy="nothing was released; mend the folder or choose another name",
        ) from fault


def _copied(source: Path, copy: int) -> Passed:
    """Copy the source, within the kernel where it can; what is in the copy went by."""
    with source.open("rb", buffering=0) as read:
        try:
            while os.copy_file_range(read.fileno(), copy, 1 << 30):
                pass
        except OSError:
            # Another file system, or one that cannot: octet by octet, from where it stands.
            while piece := read.read(CHUNK):
                _write_all(copy, piece)
    passed = Passed()
    buffer = bytearray(CHUNK // 8)
    view = memoryview(buffer)
    while count := os.preadv(copy, [buffer], passed.size):
        passed.take(view[:count])
    return passed


def _write_all(copy: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        # Not within the slice: mypyc 2.4 evaluates the bounds of a memoryview's slice twice.
        written = os.write(copy, view)
        view = view[written:]
