"""Judges a PDF from its bytes: every signature on its own, placed in time, offline, and never a foreign exception.

pyHanko reads the file and compares revisions; byte rules, timestamps in time, status evidence and the verdict are ours,
because pyHanko's own verdict can be misled (docs: divergences). Follows ETSI EN 319 102-1 clauses 5.3 to 5.6.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.verifier.adapters import changes as revisions
from services.verifier.adapters import cms
from services.verifier.adapters.document import (
    Document,
    DocumentFault,
    SecurityStore,
    SignatureField,
    byte_range_of,
    claimed_time,
    contents_of,
    security_stores,
    text_of,
)
from services.verifier.adapters.readings import Readings
from services.verifier.adapters.signature import Judged, SignatureJudge, Stamp, judge_stamp
from services.verifier.adapters.standing import Material, Standing, load_anchors
from services.verifier.bytes_rules import (
    Fault,
    dictionary_fault,
    four_integers,
    gap_fault,
    mentions_signatures,
    raw_signatures,
    tail_fault,
)
from services.verifier.model import (
    Brought,
    CheckFinding,
    FileReport,
    Indication,
    Integrity,
    LaterChange,
    SignatureReport,
    Sub,
    TimestampReport,
    conclude,
    doubtful,
    failed,
    notice,
    numbered,
    passed,
    unreadable,
    worst_integrity,
)

NAME = "pyhanko 0.38 + byte rules"
RANGE_CLAUSE = "ISO 32000-2 12.8.1"
_HASH_CLAUSE = "Circular 15/2025/TT-BKHCN App. II 2.4"


@dataclass
class _Found:
    """One signature value and what the byte rules say of it."""

    name: str
    field: SignatureField | None
    byte_range: tuple[int, int, int, int] | None
    contents: bytes | None
    revision: int | None
    sub_filter: str | None
    is_stamp: bool
    document: Document | None
    rows: list[CheckFinding] = dataclasses.field(default_factory=list)
    changes: tuple[LaterChange, ...] = ()
    integrity: Integrity = Integrity.INTACT
    unlisted: bool = False
    certification: bool = False
    restriction: int | None = None

    @property
    def end(self) -> int:
        return self.byte_range[2] + self.byte_range[3] if self.byte_range else 0

    def spoil(self, finding: CheckFinding, integrity: Integrity, change: str | None = None) -> None:
        self.rows.append(finding)
        self.integrity = worst_integrity([self.integrity, integrity])
        if change is not None:
            where = self.document.revisions - 1 if self.document else (self.revision or 0)
            self.changes = (*self.changes, LaterChange(revision=where, what=change, allowed=False))


async def judge(
    data: bytes,
    *,
    file: str,
    anchors: Sequence[bytes],
    now: datetime,
    extra: Brought | None = None,
    base_size: int | None = None,
) -> FileReport:
    """Judge one file. `anchors` are certificates, PEM or DER; `now` is aware. Never raises for what is in the file.

    With `base_size`, also compare the file with its first `base_size` octets, which must be a whole PDF by themselves.
    """
    if b"%PDF-" not in data[:1024]:
        return unreadable(file, "not-a-pdf", now)
    try:
        readings = Readings(data)
        found, best, complaints = _find(data, readings)
    except DocumentFault as limit:
        return unreadable(file, limit.reason, now, **limit.detail)
    whole = FileReport(
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        judged_at=now,
        revisions=best.revisions if best else 0,
        pages=best.pages() if best else None,
        integrity=Integrity.UNSIGNED,
        anchors=len(anchors),
        engines=(NAME,),
    )
    if not found:
        if best is None:
            reason = (
                "signatures-unusable"
                if mentions_signatures(data)
                else (readings.fault.reason if readings.fault else "pdf-unreadable")
            )
            detail = readings.fault.detail if readings.fault else {}
            report = unreadable(file, reason, now, **detail)
            return report.model_copy(update={"sha256": whole.sha256, "size": whole.size, "anchors": whole.anchors})
        row = doubtful("signed", "ISO 32000-2 12.8", "no-signature", Sub.SIGNED_DATA_NOT_FOUND)
        return whole.model_copy(update={"findings": numbered([*_complaints(complaints), row])})
    stores = security_stores(best) if best else []
    material = Material()
    extra = extra or Brought()
    material.add(extra.certificates, extra.ocsps, extra.crls)
    for store in stores:
        material.add(store.certificates, store.ocsps, store.crls)
    standing = Standing(load_anchors(anchors), material, now)
    signatures, stamps = await _judge_all(data, found, stores, standing, now)
    rows = _complaints(complaints)
    since: tuple[LaterChange, ...] | None = None
    if base_size is not None:
        row, since = _since(data, readings, base_size)
        rows.append(row)
    if best is None:
        rows.append(doubtful("readable", "ISO 32000-2 7.5", "pdf-unreadable", Sub.FORMAT_FAILURE))
    return whole.model_copy(
        update={
            "integrity": worst_integrity([*(one.integrity for one in signatures), *(one.integrity for one in stamps)]),
            "signatures": tuple(signatures),
            "timestamps": tuple(stamps),
            "findings": numbered(rows),
            "since_base": since,
        }
    )


def _since(data: bytes, readings: Readings, base_size: int) -> tuple[CheckFinding, tuple[LaterChange, ...] | None]:
    """Compare with the revision that ends at `base_size`: a signer must add a signature and nothing else."""
    clause = "Decree 23/2025/ND-CP Art 16"
    for document in readings.all():
        revision = _revisions_covered(document, base_size)
        if revision < 0 or tail_fault(data, base_size, document.xref_offsets()) is not None:
            continue
        try:
            compared = revisions.compare(document, revision, revisions.Restrictions())
        except Exception:  # noqa: BLE001, S112 - pyHanko leaks what it meets; the next reading may do
            continue
        if compared.allowed:
            return passed("since-base", clause), compared.changes
        reason = compared.why or "not-permitted"
        return failed("since-base", clause, reason, Sub.FORMAT_FAILURE), compared.changes
    return failed("since-base", clause, "base-not-found", Sub.FORMAT_FAILURE), None


def _complaints(complaints: list[str]) -> list[CheckFinding]:
    if not complaints:
        return []
    return [
        doubtful(
            "fields", "ISO 32000-2 12.7.4", "field-unreadable", Sub.FORMAT_FAILURE, fields=", ".join(complaints[:5])
        )
    ]


def _find(data: bytes, readings: Readings) -> tuple[list[_Found], Document | None, list[str]]:
    """Every signature of the file, with the byte rules and the changes after it applied."""
    raw = raw_signatures(data)
    found: list[_Found] = []
    complaints: list[str] = []
    best: Document | None = None
    for document in readings.all():
        _, complaints = readings.fields(document)
        best = document
        if not complaints:
            break
    if best is not None:
        found = [_examine(data, each.name, readings, best) for each in readings.fields(best)[0]]
    listed = {one.byte_range for one in found if one.byte_range}
    for loose in raw:
        if loose.byte_range in listed:
            continue
        one = _Found(
            name=f"@{loose.offset}",
            field=None,
            byte_range=loose.byte_range,
            contents=loose.contents,
            revision=None,
            sub_filter=None,
            is_stamp=False,
            document=None,
            unlisted=True,
        )
        one.rows.append(passed("byte-range", RANGE_CLAUSE))
        if best is not None:
            one.spoil(
                failed("listed", "ISO 32000-2 12.7.5.5", "signature-not-listed", Sub.FORMAT_FAILURE),
                Integrity.CHANGED,
                "signature-hidden",
            )
        elif data[loose.end :].strip(b" \t\r\n\x00\x0c"):
            one.spoil(
                failed("changes", RANGE_CLAUSE, "tail-unreadable", Sub.FORMAT_FAILURE),
                Integrity.CHANGED,
                "bytes-after-signature",
            )
        else:
            one.rows.append(doubtful("changes", RANGE_CLAUSE, "pdf-unreadable", Sub.FORMAT_FAILURE))
        found.append(one)
    found.sort(key=lambda one: (one.revision if one.revision is not None else 10**9, one.end))
    return found, best, complaints


def _examine(data: bytes, name: str, readings: Readings, best: Document) -> _Found:
    """One field: strict, then tolerant when the strict reading fails on it."""
    last: _Found | None = None
    for document in readings.all():
        if best.strict is False and document.strict:
            continue
        field_here = readings.same_field(document, name)
        if field_here is None:
            continue
        one = _described(data, field_here, document)
        if one.field is None or one.byte_range is None or one.integrity is Integrity.BROKEN:
            return one
        try:
            _compare(data, one, document)
        except Exception as fault:  # noqa: BLE001 - pyHanko leaks what it meets
            one.spoil(
                failed(
                    "changes",
                    "ISO 32000-2 12.8.2",
                    "changes-not-analysable",
                    Sub.FORMAT_FAILURE,
                    fault=type(fault).__name__,
                ),
                Integrity.CHANGED if _followed(data, one) else Integrity.INTACT,
                "not-analysable" if _followed(data, one) else None,
            )
            last = one
            continue
        return one
    assert last is not None  # noqa: S101 - the best reading holds the field
    return last


def _followed(data: bytes, one: _Found) -> bool:
    return bool(data[one.end :].strip(b" \t\r\n\x00\x0c"))


def _described(data: bytes, each: SignatureField, document: Document) -> _Found:
    values = byte_range_of(each.dictionary)
    contents = contents_of(each.dictionary)
    sub_filter = text_of(each.dictionary, "/SubFilter")
    kind = text_of(each.dictionary, "/Type")
    one = _Found(
        name=each.name,
        field=each,
        byte_range=four_integers(values),
        contents=contents,
        revision=document.revision_of(each.dictionary),
        sub_filter=sub_filter.lstrip("/") if sub_filter else None,
        is_stamp=kind == "/DocTimeStamp" or sub_filter == "/ETSI.RFC3161",
        document=document,
    )
    if each.also:
        one.rows.append(notice("listed", "ISO 32000-2 12.7.5.5", "value-shared", fields=", ".join(each.also[:5])))
    gap = gap_fault(data, values, contents)
    if gap is not None:
        one.byte_range = (
            None if gap.reason in ("byte-range-form", "byte-range-outside", "byte-range-order") else one.byte_range
        )
        inside = "unsigned-bytes" if gap.reason.startswith("gap") else None
        one.spoil(_byte_finding("byte-range", gap), Integrity.BROKEN, inside)
        return one
    assert one.byte_range is not None  # noqa: S101 - the gap rule holds
    elsewhere = dictionary_fault(data, document.offset_of(each.dictionary), one.byte_range)
    if elsewhere is not None:
        one.spoil(_byte_finding("byte-range", elsewhere), Integrity.BROKEN)
        return one
    one.rows.append(passed("byte-range", RANGE_CLAUSE))
    return one


def _byte_finding(code: str, fault: Fault) -> CheckFinding:
    return failed(code, RANGE_CLAUSE, fault.reason, Sub.FORMAT_FAILURE, **fault.detail)


def _compare(data: bytes, one: _Found, document: Document) -> None:
    """The tail rule and the difference analysis."""
    assert one.field is not None  # noqa: S101
    assert one.revision is not None  # noqa: S101
    tail = tail_fault(data, one.end, document.xref_offsets())
    if tail is not None:
        one.spoil(_byte_finding("tail", tail), Integrity.CHANGED, "bytes-after-signature")
    else:
        one.rows.append(passed("tail", RANGE_CLAUSE))
    covered = _revisions_covered(document, one.end)
    if covered < one.revision:
        # The revision that holds the signature is not wholly inside the signed bytes.
        one.spoil(
            failed("changes", "ISO 32000-2 12.8.1", "revision-not-covered", Sub.FORMAT_FAILURE), Integrity.CHANGED
        )
    rules = revisions.restrictions(one.field)
    one.restriction = rules.doc_mdp
    one.certification = rules.doc_mdp is not None and _is_certification(document, one.field)
    compared = revisions.compare(document, one.revision, rules)
    one.changes = (*one.changes, *compared.changes)
    clause = "ISO 32000-2 12.8.2"
    if not compared.allowed:
        one.spoil(failed("changes", clause, compared.why or "not-permitted", Sub.FORMAT_FAILURE), Integrity.CHANGED)
    elif compared.changes:
        one.rows.append(notice("changes", clause, "changes-permitted", count=str(len(compared.changes))))
    elif tail is None and covered >= one.revision:
        one.rows.append(passed("changes", clause))
    if not document.strict:
        one.rows.append(notice("parsing", "ISO 32000-2 7.5", "tolerant"))


def _revisions_covered(document: Document, end: int) -> int:
    """The last revision whose cross-reference section lies wholly within the signed bytes, from the first on."""
    covered = -1
    for index in range(document.revisions):
        place = document.reader.xrefs.get_xref_container_info(index)
        if place.end_location > end:
            break
        covered = index
    return covered


def _is_certification(document: Document, field_here: SignatureField) -> bool:
    try:
        raw = document.reader.root["/Perms"].raw_get("/DocMDP")
        return field_here.reference == (raw.idnum, raw.generation)
    except Exception:  # noqa: BLE001
        return False


async def _judge_all(
    data: bytes, found: list[_Found], stores: list[SecurityStore], standing: Standing, now: datetime
) -> tuple[list[SignatureReport], list[TimestampReport]]:
    view = memoryview(data)
    parsed: dict[int, cms.Cms | cms.CmsFault] = {}
    for index, one in enumerate(found):
        if one.contents is None:
            continue
        try:
            parsed[index] = cms.read(one.contents)
        except cms.CmsFault as fault:
            parsed[index] = fault
            continue
        one.is_stamp = one.is_stamp or (one.unlisted and parsed[index].content_type == "tst_info")  # type: ignore[union-attr]
        SignatureJudge.gather(parsed[index], standing.material)  # type: ignore[arg-type]
    control = now
    stamps: dict[int, Stamp] = {}
    for index in reversed([index for index, one in enumerate(found) if one.is_stamp]):
        one = found[index]
        stamp = await judge_stamp(one.contents, _digester(view, one), standing, control, intact=not _unsound(one))
        stamps[index] = stamp
        if stamp.token.trusted and stamp.token.time is not None and one.integrity is Integrity.INTACT:
            control = min(control, stamp.token.time)
    _in_order(found, stamps)
    signatures: list[SignatureReport] = []
    reports: list[TimestampReport] = []
    for index, one in enumerate(found):
        if one.is_stamp:
            reports.append(_stamp_report(one, stamps[index]))
            continue
        covering = [
            stamps[later]
            for later, other in enumerate(found)
            if later in stamps and _covers(other, one) and other.integrity is Integrity.INTACT
        ]
        after = [
            (stamps[later].token, found[later].revision or 0)
            for later in stamps
            if _covers(found[later], one) and stamps[later].token.imprint_ok
        ]
        judge_one = SignatureJudge(standing, now, stores, covering, after)
        judged = await judge_one.judge(
            parsed.get(index),
            digest=_digester(view, one),
            ranges=_ranges(view, one),
            sub_filter=one.sub_filter,
            claimed=claimed_time(one.field.dictionary) if one.field else None,
            revision=one.revision,
            sound=not _unsound(one),
            certificates=_legacy_certificates(one),
            contents=one.contents,
        )
        signatures.append(_signature_report(one, judged, data))
    return signatures, reports


def _unsound(one: _Found) -> bool:
    """The byte rules have already broken it: its digest means nothing."""
    return one.byte_range is None or one.contents is None


def _covers(stamp: _Found, one: _Found) -> bool:
    return stamp.byte_range is not None and one.byte_range is not None and stamp.end > one.end and stamp is not one


def _digester(view: memoryview, one: _Found) -> Any:
    def digest(name: str) -> bytes | None:
        ranges = _ranges(view, one)
        return None if ranges is None else cms.digest_of(name, *ranges)

    return digest


def _ranges(view: memoryview, one: _Found) -> tuple[memoryview, memoryview] | None:
    if one.byte_range is None:
        return None
    _, length, start, rest = one.byte_range
    return view[:length], view[start : start + rest]


def _legacy_certificates(one: _Found) -> list[bytes]:
    """The `/Cert` entry of adbe.x509.rsa_sha1."""
    if one.field is None:
        return []
    try:
        value = one.field.dictionary["/Cert"]
        items = [value] if not isinstance(value, list) else [value[index] for index in range(len(value))]
        return [bytes(getattr(item, "original_bytes", b"")) for item in items][:10]
    except Exception:  # noqa: BLE001
        return []


def _in_order(found: list[_Found], stamps: dict[int, Stamp]) -> None:
    """A document timestamp must not be older than one in an earlier revision (EN 319 102-1 clause 5.6.2.4)."""
    latest: datetime | None = None
    for index in sorted(stamps):
        stamp = stamps[index]
        if not stamp.token.trusted or stamp.token.time is None:
            continue
        if latest is not None and stamp.token.time < latest - stamp.skew:
            stamp.distrust(
                doubtful(
                    "token-order", "ETSI EN 319 102-1 5.6.2.4", "older-than-an-earlier-one", Sub.TIMESTAMP_ORDER_FAILURE
                )
            )
            continue
        latest = stamp.token.time


def _stamp_report(one: _Found, stamp: Stamp) -> TimestampReport:
    rows = [*one.rows, *stamp.token.findings]
    indication, sub = conclude(rows)
    integrity = one.integrity
    if not stamp.token.imprint_ok:
        integrity = Integrity.BROKEN
    return TimestampReport(
        kind="document",
        field=one.name,
        revision=one.revision,
        time=stamp.token.time,
        authority=stamp.token.authority,
        anchor=stamp.token.anchor,
        imprint_ok=stamp.token.imprint_ok,
        trusted=stamp.token.trusted and indication is Indication.PASSED,
        integrity=integrity,
        indication=indication,
        sub_indication=sub,
        findings=numbered(rows),
        evidence=tuple(stamp.token.evidence),
        changes=one.changes,
    )


def _signature_report(one: _Found, judged: Judged, data: bytes) -> SignatureReport:
    rows = [*one.rows, *judged.rows]
    indication, sub = conclude(rows)
    kind = "unlisted" if one.unlisted else "certification" if one.certification else "approval"
    if judged.unsupported:
        kind = "unsupported"
    return SignatureReport(
        field=one.name,
        kind=kind,
        sub_filter=one.sub_filter,
        revision=one.revision,
        signed_octets=one.end or None,
        covers_whole_file=one.byte_range is not None and not _followed(data, one),
        integrity=worst_integrity([one.integrity, judged.integrity]),
        indication=indication,
        sub_indication=sub,
        level=judged.level,
        certificate=judged.certificate,
        anchor=judged.anchor,
        claimed_time=judged.claimed,
        proven_time=judged.proven,
        reason=text_of(one.field.dictionary, "/Reason") if one.field else None,
        digest_algorithm=judged.digest_algorithm,
        signature_algorithm=judged.signature_algorithm,
        timestamps=tuple(judged.timestamps),
        findings=numbered(rows),
        evidence=tuple(judged.evidence),
        changes=one.changes,
        needs=tuple(judged.needs),
        parsing="strict" if one.document is not None and one.document.strict else "tolerant",
    )
