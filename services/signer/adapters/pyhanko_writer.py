# mypy: allow-untyped-calls
"""PAdES through pyHanko: sign, then validation data in a revision after it, then a document timestamp over both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from typing import Any

from asn1crypto import algos, cms
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.form_tools import get_single_field_annot
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.sign.fields import FieldMDPSpec, MDPPerm, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import Signer
from pyhanko.sign.signers.cms_embedder import docmdp_reference_dictionary, fieldmdp_reference_dictionary
from pyhanko.sign.signers.pdf_byterange import (
    DocumentTimestamp,
    PdfSignedData,
    PreparedByteRangeDigest,
    SignatureObject,
)
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator.registry import SimpleCertificateStore

from events.errors import AntinError, Refused
from events.values import BaselineLevel, Digest
from services.signer.adapters import documents, inspection, pyhanko_stamp, stamps
from services.signer.adapters.geometry import Page
from services.signer.adapters.pages import look, pages_of
from services.signer.adapters.release import (
    CLOSING_TRIES,
    LASTING,
    TIMED,
    TooLarge,
    may_begin,
    no_end,
    no_room,
    to_store,
)
from services.signer.model import (
    Box,
    Evidence,
    Passed,
    Prepared,
    Redemption,
    SignedRevision,
    SigningOrder,
    Token,
    WrittenBy,
    default_place,
    within,
)
from services.signer.ports import KeyStore, StatusSource, TimestampAuthority

NOWHERE = (0.0, 0.0, 0.0, 0.0)
SIGNATURE_ROOM = 2_000
"""Octets for the raw signature, the signed attributes and the frame of the CMS, RSA-4096 included, names excluded."""


@dataclass
class _Open:
    """A revision written with a hole in it."""

    output: BytesIO
    prepared: PreparedByteRangeDigest

    @property
    def gap(self) -> tuple[int, int]:
        return self.prepared.reserved_region_start, self.prepared.reserved_region_end

    def fill(self, content: bytes) -> bytes:
        """The revision with the hole filled.

        Raises:
            TooLarge: the content does not fit.
        """
        start, end = self.gap
        if 2 * len(content) > end - start - 2:
            raise TooLarge
        self.prepared.fill_reserved_region(self.output, content)
        return self.output.getvalue()


_THREADS = 2 * (os.cpu_count() or 1)


class PyhankoWriter:
    """A `PadesWriter` on pyHanko's PDF and CMS layers; it fetches nothing itself.

    PDF and CMS work runs in threads; the key store and the timestamp authority are asked on the caller's loop.
    """

    def __init__(self, keys: KeyStore, authority: TimestampAuthority, status: StatusSource) -> None:
        self._keys = keys
        self._authority = authority
        self._status = status
        # Threads of our own: while they wait for the key store, the store needs one of the loop's.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pades")

    async def sign(self, pdf: bytes, order: SigningOrder, evidence: Evidence) -> SignedRevision:
        """Sign `pdf` as ordered and check the result before giving it out (ETSI EN 319 142-1 clause 6.3).

        `evidence` is the status material of the signer's path; the timestamp authority's is fetched here.

        Raises:
            Refused: the PDF cannot be signed, or the self-check failed.
            Unavailable: no trusted time or no status material; nothing is released.
        """
        may_begin(Digest.of(pdf).raw, order, evidence)
        for attempt in (1, 2):
            try:
                signed, contents, token = await self._signature(pdf, order, stamped_time=order.level in TIMED)
                break
            except TooLarge:
                if attempt == 2:
                    raise no_room() from None
        output = signed
        if token is not None and order.level in LASTING:
            output = await self._prolong(signed, contents, order, token, evidence)
        await asyncio.to_thread(
            inspection.inspect, output, pdf, field=order.field, certificate=order.chain[0], level=order.level
        )
        return SignedRevision(output, Digest.of(output), order.field, order.level, order.signed_at, WrittenBy.PYHANKO)

    async def _signature(
        self, pdf: bytes, order: SigningOrder, *, stamped_time: bool
    ) -> tuple[bytes, bytes, Token | None]:
        """The signed revision, the `/Contents` in it with its padding, the timestamp of it."""
        # The signer's certificate counts twice: its issuer's name stands in the signed attributes and the signer id.
        certificates = sum(len(item) for item in (*order.chain, order.chain[0]))
        room = SIGNATURE_ROOM + certificates + (self._authority.room(steady=self._keys.waits) if stamped_time else 0)
        opened = await _off_loop(self._threads, _prepare_signature, pdf, order, 2 * room)
        loop = asyncio.get_running_loop()
        signer = KeyStoreSigner(order, opened, self._keys, loop)
        content: cms.ContentInfo = await _off_loop(
            self._threads,
            lambda: asyncio.run(signer.async_sign(opened.prepared.document_digest, "sha256", use_pades=True)),
        )
        token = None
        if stamped_time:
            info = content["content"]["signer_infos"][0]
            token = await self._authority.timestamp(Digest.of(info["signature"].native))
            info["unsigned_attrs"] = cms.CMSAttributes(
                [cms.CMSAttribute({"type": "signature_time_stamp_token", "values": [cms.ContentInfo.load(token.der)]})]
            )
        signed = await _off_loop(self._threads, lambda: opened.fill(content.dump()))
        start, end = opened.gap
        return signed, bytes.fromhex(signed[start + 1 : end - 1].decode("ascii")), token

    async def _prolong(
        self, signed: bytes, contents: bytes, order: SigningOrder, first: Token, evidence: Evidence
    ) -> bytes:
        """Add the DSS in a revision of its own and, at B-LTA, a document timestamp over it."""
        material = await self._status.evidence(first.path)
        needed = to_store(order, evidence, first, material)
        served = [first.needs]
        for _ in range(CLOSING_TRIES):
            output: bytes = await _off_loop(self._threads, _add_dss, signed, contents, needed)
            if order.level is not BaselineLevel.LTA:
                return output
            opened = await _off_loop(self._threads, _prepare_timestamp, output, 2 * self._authority.room(steady=False))
            token = await self._authority.timestamp(Digest.from_raw(opened.prepared.document_digest))
            # An authority may sign its next token with another certificate: then its material has to be in, too.
            material = await self._status.evidence(token.path)
            if token.needs not in served:
                needed += material
                served.append(token.needs)
                continue
            try:
                closing: bytes = await _off_loop(self._threads, opened.fill, token.der)
                return closing
            except TooLarge:
                continue
        raise no_end()


class KeyStoreSigner(Signer):
    """pyHanko's signer over our key store: each raw signature needs a permit that has seen the bytes."""

    def __init__(self, order: SigningOrder, opened: _Open, keys: KeyStore, loop: asyncio.AbstractEventLoop) -> None:
        store = SimpleCertificateStore()
        chain = [asn1_x509.Certificate.load(item) for item in order.chain]
        store.register_multiple(chain)
        algorithm = order.redemption.algorithm
        mechanism: dict[str, Any] = {"algorithm": "sha256_rsa" if algorithm.is_rsa else "sha256_ecdsa"}
        if algorithm.is_pss:
            sha256 = {"algorithm": "sha256"}
            mechanism = {
                "algorithm": "rsassa_pss",
                "parameters": algos.RSASSAPSSParams(
                    {
                        "hash_algorithm": sha256,
                        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": sha256},
                        "salt_length": 32,
                    }
                ),
            }
        super().__init__(
            signing_cert=chain[0],
            cert_registry=store,
            signature_mechanism=algos.SignedDigestAlgorithm(mechanism),
            embed_roots=True,
        )
        self._redemption: Redemption = order.redemption
        self._opened = opened
        self._keys = keys
        self._loop = loop

    async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
        """The raw signature over the signed attributes `data`, by way of a permit.

        Raises:
            Refused: the attributes or the revision are not what was authorised.
        """
        if dry_run or digest_algorithm != "sha256":
            raise Refused(
                "not-what-was-authorised",
                found="a request for another kind of signature",
                expected="one signature over a SHA-256 digest",
                remedy="report this as a fault of the PDF writer",
            )
        size = self._redemption.base_size
        with self._opened.output.getbuffer() as view, view[:size] as base, view[size:] as added:
            permit = self._redemption.permit(Prepared(Passed(base), added, self._opened.gap, data))
        asked: Future[bytes] = asyncio.run_coroutine_threadsafe(self._keys.sign(permit), self._loop)
        return await asyncio.wrap_future(asked)


async def _off_loop(threads: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run PDF or CMS work in a thread; what the libraries raise becomes one of our errors.

    Raises:
        Refused: the PDF is not one that can be extended.
    """

    def guarded() -> Any:
        try:
            return work(*arguments)
        except (AntinError, TooLarge):
            raise
        except (SigningError, *documents.LIBRARY_FAULTS) as fault:
            raise documents.damaged(f"a PDF that cannot be extended ({type(fault).__name__})") from fault

    return await asyncio.get_running_loop().run_in_executor(threads, guarded)


def _prepare_signature(pdf: bytes, order: SigningOrder, room: int) -> _Open:
    writer = documents.open_for_update(pdf)
    documents.may_be_signed(writer)
    pages = pages_of(writer)
    existing = documents.empty_field(writer, order.field)
    if existing is None:
        place = _place(writer, order, pages) if order.stamped else None
        page = pages[place[0] - 1] if place else pages[-1]
        rect: tuple[float, ...] = page.place(place[1]) if place else NOWHERE
        field = documents.add_field(writer, order.field, page, rect)
        widget = field
    else:
        field = existing.get_object()
        widget = get_single_field_annot(field)
        page = _page_of(writer, widget, pages)
        rect = tuple(float(value) for value in look(widget, "/Rect", NOWHERE))
        writer.update_container(field)
        writer.update_container(widget)
    if order.stamped and rect[0] != rect[2] and rect[1] != rect[3]:
        _stamp(writer, widget, rect, page, order)
    documents.flag_signatures(writer)
    signature = SignatureObject(
        timestamp=order.signed_at, subfilter=SigSeedSubFilter.PADES, reason=order.reason, bytes_reserved=room
    )
    lock = look(field, "/Lock")
    references = [docmdp_reference_dictionary(MDPPerm(order.certify))] if order.certify is not None else []
    if isinstance(lock, generic.DictionaryObject):
        said = FieldMDPSpec.from_pdf_object(lock)
        reference = fieldmdp_reference_dictionary(said, data_ref=writer.root_ref)
        if "/P" in lock:
            # Where a lock also restricts the document, its P goes along, as Acrobat writes it.
            reference["/TransformParams"][pdf_name("/P")] = lock["/P"]
        references.append(reference)
    if references:
        signature[pdf_name("/Reference")] = generic.ArrayObject(references)
    return _write(writer, field, signature, certifies=order.certify is not None)


def _place(writer: documents.Revision, order: SigningOrder, pages: list[Page]) -> tuple[int, Box] | None:
    """Page number and box of the stamp, as ordered or by default.

    Raises:
        Refused: the order names a page that is not there, or a box outside it.
    """
    if order.placement is None:
        found = default_place(
            order.index, (page.size for page in reversed(pages)), lambda back: _taken(writer, pages[-1 - back])
        )
        return (len(pages) - found[0], found[1]) if found else None
    if order.placement.page > len(pages):
        raise Refused(
            "placement-page",
            found=f"page {order.placement.page}",
            expected=f"one of the {len(pages)} pages",
            remedy="place the signature on a page of the document",
        )
    page = pages[order.placement.page - 1]
    box = within(order.placement, *page.size)
    if any(box.overlaps(other) for other in _taken(writer, page)):
        raise Refused(
            "placement-taken",
            found="a box over another signature, form field or annotation",
            expected="a free place: a stamp that covers something makes validators suspicious",
            remedy="place the signature elsewhere",
        )
    return order.placement.page, box


def _taken(writer: documents.Revision, page: Page) -> list[Box]:
    """Where the page shows annotations already, as displayed."""
    content = documents.content_of(writer, page)
    boxes = []
    for item in look(content, "/Annots", ()):
        annotation = item.get_object()
        if isinstance(annotation, generic.DictionaryObject):
            box = page.displayed(look(annotation, "/Rect"))
            if box is not None:
                boxes.append(box)
    return boxes


def _page_of(writer: documents.Revision, widget: generic.DictionaryObject, pages: list[Page]) -> Page:
    """The page a widget of the file itself is on: as it says, or as the pages say, or the last."""
    try:
        named = widget.raw_get("/P")
    except KeyError:
        named = None
    for page in pages:
        if isinstance(named, generic.IndirectObject) and named.reference.idnum == page.number:
            return page
    for page in pages:
        content = documents.content_of(writer, page)
        annotations = look(content, "/Annots", ())
        if any(item.get_object() is widget for item in annotations):
            return page
    return pages[-1]


def _stamp(
    writer: documents.Revision,
    widget: generic.DictionaryObject,
    rect: tuple[float, ...],
    page: Page,
    order: SigningOrder,
) -> None:
    wide, high = abs(rect[2] - rect[0]), abs(rect[3] - rect[1])
    if page.rotation in (90, 270):
        wide, high = high, wide
    text = stamps.text_for(order.chain[0], order.signed_at, order.redemption.shown.short)
    # Drawn in points, then fitted to the rectangle by the viewer (ISO 32000-2 clause 12.5.5): right for any UserUnit.
    form = pyhanko_stamp.draw(writer, text, wide * page.unit, high * page.unit, page.matrix)
    widget[pdf_name("/AP")] = generic.DictionaryObject({pdf_name("/N"): form})
    if "/AS" in widget:
        del widget["/AS"]


def _write(
    writer: documents.Revision, field: generic.DictionaryObject, value: PdfSignedData, *, certifies: bool = False
) -> _Open:
    """Put the value into the field and write the revision with a hole for `/Contents`."""
    held = writer.add_object(value)
    field[pdf_name("/V")] = held
    if certifies:
        documents.certify(writer, held)
    filling = value.fill(writer, "sha256")
    prepared, output = next(filling)
    return _Open(output, prepared)


def _add_dss(signed: bytes, contents: bytes, evidence: Evidence) -> bytes:
    """Append a revision with the status material of one signature, even where all of it is in the file already.

    A validator takes a signature for LT only when a DSS written after it refers to its material; a second signature
    by the same certificate brings nothing new, yet needs the reference (EN 319 142-1 clause 5.4).
    """
    writer = documents.open_for_update(signed)
    store = DocumentSecurityStore.supply_dss_in_writer(
        writer,
        contents,
        certs=[asn1_x509.Certificate.load(item) for item in evidence.certificates],
        ocsps=[asn1_ocsp.OCSPResponse.load(item) for item in evidence.ocsps],
        crls=[asn1_crl.CertificateList.load(item) for item in evidence.crls],
    )
    if not store.modified:
        raise documents.damaged("validation data that were not added")
    output = BytesIO()
    writer.write(output)
    return output.getvalue()


def _prepare_timestamp(pdf: bytes, room: int) -> _Open:
    writer = documents.open_for_update(pdf)
    _, fields = documents.fields_of(writer)
    taken = documents.top_names(fields)
    name = next(f"timestamp-{n}" for n in count(1) if f"timestamp-{n}" not in taken)
    page = pages_of(writer)[-1]
    field = documents.add_field(writer, name, page, NOWHERE)
    documents.flag_signatures(writer)
    return _write(writer, field, DocumentTimestamp(bytes_reserved=room))
