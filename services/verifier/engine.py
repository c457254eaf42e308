"""Engine one: judges a PDF from its bytes, every signature on its own, placed in time, offline, nothing foreign inside.

The byte rules say whether the signed bytes can mean one thing only, the reader what later revisions did, the validation
whose signature it is and whether it held at the proven time (ETSI EN 319 102-1 clauses 5.3 to 5.6).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.verifier.bytes_rules import (
    Fault,
    RawSignature,
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
from services.verifier.pdf import changes as revisions
from services.verifier.pdf.document import Document, SecurityStore, SignatureValue, Unreadable
from services.verifier.validation import cms
from services.verifier.validation.certificates import load_anchors
from services.verifier.validation.cms import Cms, CmsFault
from services.verifier.validation.revocation import SKEW, Standing
from services.verifier.validation.signature import Claim, Covered, Judged, SignatureJudge
from services.verifier.validation.tokens import Token, judge_token

NAME = "antin engine one"
RANGE_CLAUSE = "ISO 32000-2 12.8.1"
CHANGES_CLAUSE = "ISO 32000-2 12.8.2"
_SPACE = b" \t\r\n\x00\x0c"


@dataclass
class _Found:
    """One signature value and what the byte rules say of it."""

    name: str
    value: SignatureValue | None
    """None for a signature that the document does not list."""
    byte_range: tuple[int, int, int, int] | None
    contents: bytes | None
    revision: int | None
    sub_filter: str | None
    is_stamp: bool
    covered: Covered | None = None
    """None while the byte rules have broken it."""
    rows: list[CheckFinding] = dataclasses.field(default_factory=list)
    changes: tuple[LaterChange, ...] = ()
    integrity: Integrity = Integrity.INTACT

    @property
    def end(self) -> int:
        return self.byte_range[2] + self.byte_range[3] if self.byte_range else 0

    def spoil(self, finding: CheckFinding, integrity: Integrity) -> None:
        self.rows.append(finding)
        self.integrity = worst_integrity([self.integrity, integrity])

    def changed(self, what: str, revision: int) -> None:
        self.changes = (*self.changes, LaterChange(revision=revision, what=what, allowed=False))

    def covers(self, other: _Found) -> bool:
        return (
            self is not other
            and self.byte_range is not None
            and other.byte_range is not None
            and (self.end > other.end)
        )


def examine(
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

    Raises:
        ValueError: an anchor is no certificate.
        MemoryError: the process may not have what the file needs.
    """
    standing = Standing(load_anchors(anchors), now)
    if b"%PDF-" not in data[:1024]:
        return unreadable(file, "not-a-pdf", now)
    try:
        return _examined(data, file, standing, extra or Brought(), base_size)
    except Unreadable as why:
        report = unreadable(file, why.reason, now, **why.detail)
    except MemoryError:
        # The machine's limit, not the file's fault: whoever set the limit says so.
        raise
    except Exception as fault:  # noqa: BLE001 - the last line of defence: a fault of ours must not pass for an answer
        report = unreadable(file, "cannot-be-verified", now, fault=type(fault).__name__)
    known = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "anchors": len(anchors), "engines": (NAME,)}
    return report.model_copy(update=known)


def _examined(data: bytes, file: str, standing: Standing, extra: Brought, base_size: int | None) -> FileReport:
    document: Document | None = None
    unread: Unreadable | None = None
    try:
        document = Document.open(data)
        found = _listed(data, document)
    except Unreadable as why:
        if why.reason != "pdf-unreadable":
            raise
        document, unread, found = None, why, []
    found += _loose(data, document, found)
    found.sort(key=lambda one: (one.revision if one.revision is not None else 10**9, one.end))
    rows: list[CheckFinding] = []
    if not found:
        if unread is not None:
            raise Unreadable("signatures-unusable") if mentions_signatures(data) else unread
        rows.append(doubtful("signed", "ISO 32000-2 12.8", "no-signature", Sub.SIGNED_DATA_NOT_FOUND))
    signatures: list[SignatureReport] = []
    stamps: list[TimestampReport] = []
    since: tuple[LaterChange, ...] | None = None
    if found:
        stores = document.security_stores if document is not None else ()
        standing.add(extra.certificates, extra.ocsps, extra.crls)
        for store in stores:
            standing.add(store.certificates, store.ocsps, store.crls)
        signatures, stamps = _judged(data, found, stores, standing, document)
        if base_size is not None:
            row, since = _since(data, document, base_size)
            rows.append(row)
        if document is None:
            rows.append(doubtful("readable", "ISO 32000-2 7.5", "pdf-unreadable", Sub.FORMAT_FAILURE))
    return FileReport(
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        judged_at=standing.now,
        revisions=len(document.revisions) if document is not None else 0,
        pages=document.pages() if document is not None else None,
        integrity=worst_integrity([*(one.integrity for one in signatures), *(one.integrity for one in stamps)]),
        signatures=tuple(signatures),
        timestamps=tuple(stamps),
        findings=numbered(rows),
        since_base=since,
        anchors=len(standing.paths.anchors),
        engines=(NAME,),
    )


# --- what the bytes say ----------------------------------------------------------------------------------------------


def _listed(data: bytes, document: Document) -> list[_Found]:
    """Every signature that the document lists, with the byte rules and the changes after it applied."""
    view = memoryview(data)
    return [_described(data, view, document, value) for value in document.signatures]


def _described(data: bytes, view: memoryview, document: Document, value: SignatureValue) -> _Found:
    one = _Found(
        name=value.name,
        value=value,
        byte_range=four_integers(value.byte_range),
        contents=value.contents,
        revision=value.revision,
        sub_filter=value.sub_filter,
        is_stamp=value.type == "DocTimeStamp" or value.sub_filter == "ETSI.RFC3161",
    )
    last = len(document.revisions) - 1
    if value.also:
        one.rows.append(notice("listed", "ISO 32000-2 12.7.5.5", "value-shared", fields=", ".join(value.also[:5])))
    gap = gap_fault(data, value.byte_range, value.contents)
    if gap is not None:
        if gap.reason in ("byte-range-form", "byte-range-outside", "byte-range-order"):
            one.byte_range = None
        elif one.byte_range is not None:
            one.covered = _covered(view, one.byte_range)
        one.spoil(_byte_finding("byte-range", gap), Integrity.BROKEN)
        if gap.reason.startswith("gap"):
            one.changed("unsigned-bytes", last)
        return one
    if one.byte_range is None:  # pragma: no cover - the gap rule holds
        return one
    one.covered = _covered(view, one.byte_range)
    elsewhere = dictionary_fault(data, value.offset, one.byte_range)
    if elsewhere is not None:
        one.spoil(_byte_finding("byte-range", elsewhere), Integrity.BROKEN)
        return one
    one.rows.append(passed("byte-range", RANGE_CLAUSE))
    _compare(data, one, document, value)
    return one


def _covered(view: memoryview, byte_range: tuple[int, int, int, int]) -> Covered:
    first, length, second, rest = byte_range
    return Covered((view[first : first + length], view[second : second + rest]))


def _byte_finding(code: str, fault: Fault) -> CheckFinding:
    return failed(code, RANGE_CLAUSE, fault.reason, Sub.FORMAT_FAILURE, **fault.detail)


def _compare(data: bytes, one: _Found, document: Document, value: SignatureValue) -> None:
    """The tail rule and what later revisions did."""
    last = len(document.revisions) - 1
    tail = tail_fault(data, one.end, document.xref_offsets())
    if tail is not None:
        one.spoil(_byte_finding("tail", tail), Integrity.CHANGED)
        one.changed("bytes-after-signature", last)
    else:
        one.rows.append(passed("tail", RANGE_CLAUSE))
    covered = document.revisions_covered(one.end)
    uncovered = value.revision is None or covered < value.revision
    if uncovered:
        # The revision that holds the signature is not wholly inside the signed bytes.
        reason = "revision-not-covered"
        one.spoil(failed("changes", RANGE_CLAUSE, reason, Sub.FORMAT_FAILURE), Integrity.CHANGED)
    compared = revisions.after(document, value)
    one.changes = (*one.changes, *compared.changes)
    if not compared.allowed:
        reason = compared.why or "not-permitted"
        one.spoil(failed("changes", CHANGES_CLAUSE, reason, Sub.FORMAT_FAILURE), Integrity.CHANGED)
    elif value.doc_mdp is None and any(change.what == "form-value-replaced" for change in compared.changes):
        # Permitted by the format, for nothing locks the field; whether the signer would agree, nobody can tell.
        one.rows.append(doubtful("changes", CHANGES_CLAUSE, "form-value-replaced", Sub.CUSTOM))
    elif compared.changes:
        count = str(len(compared.changes))
        one.rows.append(notice("changes", CHANGES_CLAUSE, "changes-permitted", count=count))
    elif tail is None and not uncovered:
        one.rows.append(passed("changes", CHANGES_CLAUSE))
    if document.hidden is not None:
        number = str(document.hidden)
        one.rows.append(doubtful("parsing", "ISO 32000-2 7.5.4", "defined-again", Sub.CUSTOM, object=number))
    elif document.tolerant:
        one.rows.append(notice("parsing", "ISO 32000-2 7.5", "tolerant"))


def _loose(data: bytes, document: Document | None, listed: list[_Found]) -> list[_Found]:
    """Signatures in plain sight that the document does not list: hidden, or left in a file that cannot be read."""
    known: set[tuple[int, ...]] = {one.byte_range for one in listed if one.byte_range}
    if document is not None:
        known |= document.usage_rights
    view = memoryview(data)
    return [_unlisted(data, view, document, raw) for raw in raw_signatures(data, known)]


def _unlisted(data: bytes, view: memoryview, document: Document | None, raw: RawSignature) -> _Found:
    one = _Found(
        name=f"@{raw.offset}",
        value=None,
        byte_range=raw.byte_range,
        contents=raw.contents,
        revision=None,
        sub_filter=None,
        is_stamp=False,
        covered=_covered(view, raw.byte_range),
    )
    one.rows.append(passed("byte-range", RANGE_CLAUSE))
    if document is not None:
        reason = "signature-not-listed"
        one.spoil(failed("listed", "ISO 32000-2 12.7.5.5", reason, Sub.FORMAT_FAILURE), Integrity.CHANGED)
        one.changed("signature-hidden", len(document.revisions) - 1)
    elif _followed(data, one):
        one.spoil(failed("changes", RANGE_CLAUSE, "tail-unreadable", Sub.FORMAT_FAILURE), Integrity.CHANGED)
        one.changed("bytes-after-signature", 0)
    else:
        one.rows.append(doubtful("changes", RANGE_CLAUSE, "pdf-unreadable", Sub.FORMAT_FAILURE))
    return one


def _followed(data: bytes, one: _Found) -> bool:
    return bool(data[one.end :].strip(_SPACE))


def _since(
    data: bytes, document: Document | None, base_size: int
) -> tuple[CheckFinding, tuple[LaterChange, ...] | None]:
    """Compare with the revision that ends at `base_size`: a signer must add a signature and nothing else."""
    code, clause = "since-base", "Decree 23/2025/ND-CP Art 16"
    revision = document.revisions_covered(base_size) if document is not None else -1
    if document is None or revision < 0 or tail_fault(data, base_size, document.xref_offsets()) is not None:
        return failed(code, clause, "base-not-found", Sub.FORMAT_FAILURE), None
    compared = revisions.since(document, revision)
    if compared.allowed:
        return passed(code, clause), compared.changes
    return failed(code, clause, compared.why or "not-permitted", Sub.FORMAT_FAILURE), compared.changes


# --- whose signatures, and when --------------------------------------------------------------------------------------


def _judged(
    data: bytes,
    found: list[_Found],
    stores: Sequence[SecurityStore],
    standing: Standing,
    document: Document | None,
) -> tuple[list[SignatureReport], list[TimestampReport]]:
    parsed = [_parsed(one, standing) for one in found]
    stamps = _judged_stamps(found, parsed, standing)
    judge_one = SignatureJudge(standing, stores)
    signatures: list[SignatureReport] = []
    reports: list[TimestampReport] = []
    for index, one in enumerate(found):
        if index in stamps:
            reports.append(_stamp_report(one, stamps[index]))
            continue
        over = [(found[later], token) for later, token in stamps.items() if found[later].covers(one)]
        value = one.value
        judged = judge_one.judge(
            parsed[index],
            Claim(
                covered=one.covered,
                contents=one.contents,
                sub_filter=one.sub_filter,
                claimed=value.claimed_time if value else None,
                revision=one.revision,
                certificates=value.certificates if value else (),
            ),
            [token for stamp, token in over if stamp.integrity is Integrity.INTACT],
            [(token, stamp.revision or 0) for stamp, token in over if token.imprint_ok],
        )
        signatures.append(_signature_report(one, judged, data, tolerant=document is None or document.tolerant))
    return signatures, reports


def _parsed(one: _Found, standing: Standing) -> Cms | CmsFault | None:
    """The CMS object; what it and the tokens in it bring along is kept."""
    if one.contents is None:
        return None
    try:
        found = cms.read(one.contents)
    except CmsFault as fault:
        return fault
    one.is_stamp = one.is_stamp or (one.value is None and found.content_type == cms.TST_INFO)
    _gather(found, standing)
    for token in (*found.tokens, *found.content_tokens):
        if isinstance(token, Cms):
            _gather(token, standing)
    return found


def _gather(found: Cms, standing: Standing) -> None:
    standing.add_certificates(found.certificates)
    standing.add(*found.brought())


def _judged_stamps(found: list[_Found], parsed: list[Cms | CmsFault | None], standing: Standing) -> dict[int, Token]:
    """The document timestamps, the last one first: each that holds proves that those before it existed by its time."""
    control = standing.now
    stamps: dict[int, Token] = {}
    for index in reversed([index for index, one in enumerate(found) if one.is_stamp]):
        one = found[index]
        if one.covered is None:
            stamps[index] = judge_token(None, lambda _: None, standing, control)
            continue
        token = stamps[index] = judge_token(parsed[index], one.covered.digest, standing, control)
        if token.trusted and token.time is not None and one.integrity is Integrity.INTACT:
            control = min(control, token.time)
    latest: datetime | None = None
    for index in sorted(stamps):
        token = stamps[index]
        if not token.trusted or token.time is None:
            continue
        if latest is not None and token.time < latest - SKEW:
            # A later revision cannot have been stamped before an earlier one.
            clause, reason = "ETSI EN 319 102-1 5.6.2.4", "older-than-an-earlier-one"
            token.distrust(doubtful("token-order", clause, reason, Sub.TIMESTAMP_ORDER_FAILURE))
            continue
        latest = token.time
    return dict(sorted(stamps.items()))


def _stamp_report(one: _Found, token: Token) -> TimestampReport:
    rows = [*one.rows, *token.findings]
    indication, sub = conclude(rows)
    return TimestampReport(
        kind="document",
        field=one.name,
        revision=one.revision,
        time=token.time,
        authority=token.authority,
        anchor=token.anchor,
        imprint_ok=token.imprint_ok,
        trusted=token.trusted and indication is Indication.PASSED,
        integrity=one.integrity if token.imprint_ok else Integrity.BROKEN,
        indication=indication,
        sub_indication=sub,
        findings=numbered(rows),
        evidence=tuple(token.evidence),
        changes=one.changes,
    )


def _signature_report(one: _Found, judged: Judged, data: bytes, *, tolerant: bool) -> SignatureReport:
    rows = [*one.rows, *judged.rows]
    indication, sub = conclude(rows)
    value = one.value
    kind = "unlisted" if value is None else "certification" if value.certification else "approval"
    return SignatureReport(
        field=one.name,
        kind="unsupported" if judged.unsupported else kind,
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
        reason=value.reason if value else None,
        digest_algorithm=judged.digest_algorithm,
        signature_algorithm=judged.signature_algorithm,
        timestamps=tuple(judged.timestamps),
        findings=numbered(rows),
        evidence=tuple(judged.evidence),
        changes=one.changes,
        needs=tuple(judged.needs),
        parsing="tolerant" if tolerant else "strict",
    )
