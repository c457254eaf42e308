"""The report as a PDF/A: the same words as the page, both languages side by side, nothing that needs a screen.

What users and certificates say comes in as data and is never interpreted. The document is made with Typst (PDF/A-2b,
fonts embedded); the same report at the same moment gives the same octets. It is worth something once it is sealed.
"""

from __future__ import annotations

import json
import re
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

import typst

from services.verifier import appendix, catalogue
from services.verifier.catalogue import LABELS, Text
from services.verifier.model import (
    CheckFinding,
    FileReport,
    LaterChange,
    NamedParty,
    SignatureReport,
    StatusEvidence,
    TimestampReport,
)
from services.verifier.report import (
    ICONS,
    VIETNAM,
    agreement,
    differences,
    local,
    sentence,
    signed_sentence,
    why,
)

FOLDER = Path(__file__).parent / "print"
MOST_ROWS = 200
"""Rows of one list; more are counted, not printed."""
MOST_WHOLE = 20
"""Signatures and document timestamps printed with every check; more are printed with their verdict and V8 fields."""
_LONGEST = 600
_ALONE = re.compile(r"[^\s​]{40}(?=[^\s​])")

WORDS = {
    "set": Text("Danh sách tin cậy", "Trusted set"),
    "appendix": Text(
        "Các bước theo Phụ lục II Thông tư 15/2025/TT-BKHCN", "Checks of Appendix II, Circular 15/2025/TT-BKHCN"
    ),
    "all-checks": Text("Mọi bước kiểm tra", "Every check"),
    "engines": Text("Bộ kiểm tra", "Engines"),
    "difference": Text("Khác biệt giữa các bộ kiểm tra", "Difference between engines"),
    "more": Text("và {count} dòng nữa", "and {count} more"),
    "nothing-answers": Text("không có dữ liệu", "nothing to judge"),
    "short": Text(
        "Tệp có nhiều chữ ký; các bước kiểm tra của chữ ký này nằm trong báo cáo JSON.",
        "The file has many signatures; the checks of this one are in the JSON report.",
    ),
    "warning": Text(
        "CẢNH BÁO: không kiểm tra được trạng thái chứng thư tại thời điểm ký.",
        "WARNING: the certificate's status at the signing time could not be checked.",
    ),
    "seal": Text(
        "Báo cáo này có giá trị khi mang dấu điện tử của đơn vị kiểm tra; hãy kiểm tra dấu trong trình đọc PDF.",
        "This report counts when it carries the verifier's electronic seal; check the seal in a PDF reader.",
    ),
    "unsealed": Text(
        "KHÔNG ĐÓNG DẤU: ai cũng có thể làm ra một bản như thế này.", "NOT SEALED: anybody could have made this."
    ),
}


def printed(report: FileReport, *, sealed: bool) -> bytes:
    """The report as a PDF/A-2b. `sealed` tells whether a seal will be put on it: the document says so."""
    data = document(report, sealed=sealed)
    try:
        return _compiled(report, data)
    except typst.TypstError as fault:
        # PDF/A forbids the box that stands for a missing letter (ISO 19005-2 clause 6.2.11.8).
        if "could not be displayed" not in str(fault):
            raise
        return _compiled(report, _spelled(data))


_lock = threading.Lock()


@cache
def _compiler() -> Any:
    return typst.Compiler(str(FOLDER / "report.typ"), root=str(FOLDER), ignore_system_fonts=True)


def _compiled(report: FileReport, data: dict[str, Any]) -> bytes:
    inputs = {"data": json.dumps(data, ensure_ascii=False)}
    moment = report.judged_at.astimezone(UTC).replace(microsecond=0)
    with _lock:
        made = _compiler().compile(sys_inputs=inputs, format="pdf", pdf_standards=["a-2b"], timestamp=moment)
    return bytes(made)


def document(report: FileReport, *, sealed: bool) -> dict[str, Any]:
    """Everything that the template prints: plain values, each sentence with its two languages."""
    moment = report.judged_at.astimezone(VIETNAM)
    facts = [
        (LABELS["file"], _both(report.file)),
        *([(LABELS["digest"], _both(report.sha256))] if report.sha256 else []),
        *([(LABELS["size"], _both(f"{report.size:,} byte".replace(",", ".")))] if report.size else []),
        *([(LABELS["pages"], _both(str(report.pages)))] if report.pages else []),
        *([(LABELS["revisions"], _both(str(report.revisions)))] if report.revisions else []),
        (LABELS["integrity"], catalogue.INTEGRITY[report.integrity.value]),
        (LABELS["judged-at"], _both(local(report.judged_at))),
        (LABELS["anchors"], _both(str(report.anchors))),
        (WORDS["engines"], agreement(report) or _both(", ".join(report.engines) or "-")),
        *((WORDS["difference"], one) for one in differences(report)[:MOST_ROWS]),
    ]
    return {
        "made": {part: getattr(moment, part) for part in ("year", "month", "day", "hour", "minute", "second")},
        "title": _text(LABELS["title"]),
        "verdict": _badge(report.verdict.value),
        "sentence": _text(sentence(report)),
        "facts": _pairs(facts),
        "findings": _checks(report.findings),
        "signatures": [_signature(number, one) for number, one in enumerate(report.signatures, 1)],
        "timestamps": [_stamp(one, whole=number <= MOST_WHOLE) for number, one in enumerate(report.timestamps, 1)],
        "footer": _text(LABELS["footer"]),
        "seal": _text(WORDS["seal" if sealed else "unsealed"]),
        "sealed": sealed,
        "digest": (report.sha256 or "")[:16],
        "labels": {
            **{name: _text(LABELS[name]) for name in ("check", "result", "clause", "changes", "evidence")},
            **{name: _text(WORDS[name]) for name in ("appendix", "all-checks")},
            "file-findings": _text(LABELS["file-findings"]),
        },
    }


def _signature(number: int, one: SignatureReport) -> dict[str, Any]:
    unknown, whole = LABELS["unknown"], number <= MOST_WHOLE
    seen = one.certificate
    unit = _unit(one)
    times = [f"{local(one.proven_time)} ({{proven}})"] if one.proven_time else []
    times += [f"{local(one.claimed_time)} ({{claimed}})"] if one.claimed_time else []
    status = f"{one.indication.value}" + (f" / {one.sub_indication.value}" if one.sub_indication else "")
    period = _both(f"{local(seen.not_before)} – {local(seen.not_after)}") if seen else unknown
    verdict = catalogue.VERDICTS[one.verdict.value]
    rows = [
        ("a", "issuer", _party(seen.issuer) if seen else unknown),
        ("b", "signer", _party(seen.subject) if seen else unknown),
        ("c", "manager", unit),
        ("d", "time", _worded("; ".join(times)) if times else unknown),
        ("e", "integrity", catalogue.INTEGRITY[one.integrity.value]),
        ("f", "validity-then", Text(f"{verdict.vi} ({status})", f"{verdict.en} ({status})")),
        ("g", "validity-period", period),
    ]
    eight = [(Text(f"({mark}) {LABELS[name].vi}", f"({mark}) {LABELS[name].en}"), said) for mark, name, said in rows]
    eight.append((LABELS["level"], Text(one.level or LABELS["none"].vi, one.level or LABELS["none"].en)))
    if seen is not None:
        eight += [(LABELS["serial"], _both(seen.serial)), (LABELS["certificate-digest"], _both(seen.sha256))]
    unknown_status = any(
        finding.code in ("status", "issuer-status") and finding.outcome.value == "undetermined"
        for finding in one.findings
    )
    return {
        "heading": _text(Text(f"{LABELS['signature'].vi} {number}", f"{LABELS['signature'].en} {number}")),
        "field": _clean(one.field),
        "kind": _text(catalogue.KINDS[one.kind]),
        "verdict": _badge(one.verdict.value),
        "lead": _text(signed_sentence(one)),
        "warning": _text(WORDS["warning"]) if unknown_status else None,
        "eight": _pairs(eight),
        "short": None if whole else _text(WORDS["short"]),
        "appendix": [
            {
                "number": row.number,
                "name": _text(row.name),
                "outcome": _badge(row.outcome.value),
                "said": [_text(why(finding)) for finding in row.findings if why(finding).vi]
                or ([] if row.findings else [_text(WORDS["nothing-answers"])]),
            }
            for row in appendix.rows(one)
            if whole
        ],
        "changes": _changes(one.changes),
        "no-changes": _text(LABELS["no-changes"]),
        "checks": _checks(one.findings if whole else ()),
        "evidence": _evidence(one.evidence if whole else ()),
        "timestamps": [_stamp(stamp) for stamp in one.timestamps if whole],
    }


def _stamp(one: TimestampReport, *, whole: bool = True) -> dict[str, Any]:
    said = [part for part in (local(one.time), _party(one.authority).vi if one.authority else "") if part]
    if one.trusted_by is not None:
        said.append(one.trusted_by.label)
    return {
        "kind": _text(catalogue.KINDS[one.kind]),
        "field": _clean(one.field or ""),
        "verdict": _badge(one.verdict.value),
        "said": _clean(" · ".join(said)),
        "checks": _checks(one.findings if whole else ()),
        "evidence": _evidence(one.evidence if whole else ()),
        "changes": _changes(one.changes if whole else ()),
    }


def _checks(findings: Sequence[CheckFinding]) -> list[dict[str, Any]]:
    return _some(
        findings,
        lambda one: {
            "number": str(one.number),
            "name": _text(catalogue.check(one.code)),
            "outcome": _badge(one.outcome.value),
            "said": [_text(why(one))] if why(one).vi else [],
            "clause": _clean(one.clause),
        },
        lambda more: {"number": "…", "name": more, "outcome": None, "said": [], "clause": ""},
    )


def _changes(changes: Sequence[LaterChange]) -> list[dict[str, Any]]:
    def line(one: LaterChange) -> dict[str, Any]:
        what = catalogue.change(one.what)
        where = [f"{{revision}} {one.revision + 1}"] + ([f"{{page}} {one.page}"] if one.page else [])
        allowed = LABELS["permitted" if one.allowed else "not-permitted"]
        places = _worded(", ".join(where))
        detail = f" {one.detail}" if one.detail else ""
        return {
            "outcome": _badge("passed" if one.allowed else "failed", allowed),
            "said": _text(Text(f"{what.vi}{detail}, {places.vi}", f"{what.en}{detail}, {places.en}")),
        }

    return _some(changes, line, lambda more: {"outcome": None, "said": more})


def _evidence(found: Sequence[StatusEvidence]) -> list[dict[str, Any]]:
    def line(one: StatusEvidence) -> dict[str, Any]:
        source = f", {one.source.upper()} {local(one.this_update)}" if one.source else ""
        outcome = {"good": "passed", "revoked": "failed"}.get(one.status, "undetermined")
        return {"outcome": _badge(outcome, LABELS[one.status]), "said": _text(_both(f"{one.subject}{source}"))}

    return _some(found, line, lambda more: {"outcome": None, "said": more})


def _some(found: Sequence[Any], line: Any, rest: Any) -> list[dict[str, Any]]:
    lines = [line(one) for one in found[:MOST_ROWS]]
    if len(found) > MOST_ROWS:
        lines.append(rest(_text(WORDS["more"].filled({"count": len(found) - MOST_ROWS}))))
    return lines


def _badge(word: str, text: Text | None = None) -> dict[str, Any]:
    return {"word": word, "icon": ICONS[word], **_text(text or catalogue.OUTCOMES[word])}


def _pairs(rows: Iterable[tuple[Text, Text]]) -> list[dict[str, Any]]:
    return [{"name": _text(name), "said": _text(said)} for name, said in rows]


def _party(party: NamedParty) -> Text:
    return _both(" · ".join(_parts(party)))


def _parts(party: NamedParty) -> list[str]:
    parts = [party.name, party.title, party.unit, party.organisation, *party.identifiers]
    return list(dict.fromkeys(part for part in parts if part))


def _unit(one: SignatureReport) -> Text:
    """Who manages the certificate (V8 c): the anchor that it led to, and the set that answers for that."""
    parts = _parts(one.certificate.managed_by) if one.certificate and one.certificate.managed_by else []
    if one.trusted_by is not None:
        parts.append(one.trusted_by.authority)
        if one.trusted_by.label != one.trusted_by.set:
            parts.append(one.trusted_by.label)
    return _both(" · ".join(dict.fromkeys(parts))) if parts else LABELS["unknown"]


def _worded(text: str) -> Text:
    """With the labels in braces, in each language."""
    return Text(
        text.format_map({name: label.vi for name, label in LABELS.items()}),
        text.format_map({name: label.en for name, label in LABELS.items()}),
    )


def _both(text: str) -> Text:
    return Text(text, text)


def _text(text: Text) -> dict[str, str]:
    return {"vi": _clean(text.vi), "en": _clean(text.en)}


def _clean(text: str) -> str:
    """One line of bounded length, composed letters, no control characters; places to break in what has none."""
    plain = unicodedata.normalize("NFC", text)
    plain = "".join(" " if unicodedata.category(each).startswith(("C", "Z")) else each for each in plain)
    plain = plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "…"
    # A digest stays whole, so that it can be copied: the template sets it small enough.
    return plain if re.fullmatch(r"[0-9a-f]{64}", plain) else _ALONE.sub(lambda match: match.group() + "\u200b", plain)


def _spelled(value: Any) -> Any:
    """With every letter that the fonts may lack written as its code point."""
    if isinstance(value, str):
        return "".join(each if _printable(each) else f"[U+{ord(each):04X}]" for each in value)
    if isinstance(value, list):
        return [_spelled(one) for one in value]
    if isinstance(value, dict):
        return {key: _spelled(one) for key, one in value.items()}
    return value


def _printable(each: str) -> bool:
    return each <= "\u024f" or "\u1e00" <= each <= "\u1eff" or each in "\u200b–—…·•✓✕‘’“”₫"
