"""Holds engine one's report against what the other engines say, and names what is known of each difference. Pure.

Engine one alone decides. Another engine can only take trust away: a difference that no known reason explains makes a
passed file undetermined, and at the gate every difference keeps a file from being released.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Literal

from services.verifier.model import (
    Agreement,
    AgreementRow,
    CheckFinding,
    FileReport,
    Integrity,
    Opinion,
    Outcome,
    Scope,
    SignatureReport,
    Stance,
    Sub,
    TimestampReport,
    Verdict,
    doubtful,
    notice,
    numbered,
    passed,
)

CLAUSE = "Antin: two engines"
CODE = "engines"
DISAGREE = "engines-disagree"

_Signed = SignatureReport | TimestampReport

_LENIENT_BY_REASON = (
    # The first that fits explains why another engine accepts what engine one refuses.
    (("gap-", "byte-range-", "dictionary-elsewhere"), "coverage-by-sum"),
    (("tail-",), "tail-ignored"),
    (("defined-again",), "definition-not-looked-for"),
    (("form-field-replaced",), "replacement-as-form-filling"),
    (("no-signed-attributes", "ess-"), "attributes-not-required"),
    (("content-encapsulated",), "content-not-looked-at"),
)
_LENIENT_BY_CHECK = (
    (("token-time", "token-order"), "timestamps-not-placed-in-time"),
    (("algorithms", "token-algorithms"), "weak-algorithms-not-refused"),
    (("signing-certificate", "token-ess"), "attributes-not-required"),
    (("status", "issuer-status", "token-status"), "status-judged-differently"),
    (("scope", "extended-usage", "policy", "lifetime", "token-purpose", "signer"), "rule-of-engine-one"),
)
_MAINTENANCE = frozenset(
    {
        "validation-data-added",
        "validation-data-changed",
        "document-timestamp-added",
        "signature-field-added",
        "signature-added",
        "metadata",
        "extensions",
    }
)
_STRICTER_BY_REASON = {
    "attributes-not-der": "attributes-encoded-anew",
    "refused-by-rule": "other-has-no-rule",
    "timestamp-without-type": "timestamp-without-type",
    "sub-filter-unsupported": "kind-not-judged",
    "encrypted": "other-cannot-decrypt",
    "took-too-long": "other-ran-out",
    "took-too-much-processor": "other-ran-out",
    "took-too-much-memory": "other-ran-out",
    "judge-vanished": "other-ran-out",
    "judge-died": "other-ran-out",
    "too-deep": "other-ran-out",
    "too-many-signatures": "other-ran-out",
    "too-many-fields": "other-ran-out",
    "too-many-revisions": "other-ran-out",
    "report-too-long": "other-ran-out",
}
_LEAKS = (
    # Where in pyHanko a foreign exception comes from, and what that is known to mean; the first that fits.
    ("xref.XRefCache.get_introducing_revision", "dangling-references"),
    ("util.get_pyca_cryptography_hash", "digest-name-unknown"),
    ("sig_validate._validate_raw", "key-not-loadable"),
    ("reader.PdfFileReader.decrypt", "other-cannot-decrypt"),
    ("reader.", "other-cannot-read"),
    ("xref.", "other-cannot-read"),
    ("generic.", "other-cannot-read"),
    ("", "other-leaks-exceptions"),
)
_ABOUT_STORES = ("form_field_rules.DSSCompareRule.", "form_field_rules._validate_dss_substructure")
"""pyHanko's rule about the DSS, when it is that rule that objects."""
_NOW_ONLY = frozenset(
    {
        "OUT_OF_BOUNDS_NO_POE",
        "OUT_OF_BOUNDS_NOT_REVOKED",
        "REVOCATION_OUT_OF_BOUNDS_NO_POE",
        "REVOKED_NO_POE",
        "REVOKED_CA_NO_POE",
        "CRYPTO_CONSTRAINTS_FAILURE_NO_POE",
        "EXPIRED",
    }
)
_WANTS_STATUS = frozenset({"TRY_LATER", "GENERIC"})

KNOWN = frozenset(
    {name for _, name in (*_LENIENT_BY_REASON, *_LENIENT_BY_CHECK)}
    | set(_STRICTER_BY_REASON.values())
    | {name for _, name in _LEAKS}
    | {
        "hidden-signature",
        "value-only",
        "validation-data-rewritten",
        "judged-at-present-only",
        "status-wanted-for-all",
    }
)
"""Every reason that is known; each has its sentence in the catalogue and its test."""


def settle(
    report: FileReport,
    opinions: Sequence[Opinion],
    *,
    engines: Sequence[str],
    absent: Sequence[str] = (),
) -> FileReport:
    """Engine one's report with the others' opinions, the agreement, and one finding about it.

    `engines` are the names, with versions, of the others that were asked; `absent` could have been asked.
    """
    agreement = Agreement(stance=Stance.AGREES, rows=compare(report, opinions), absent=tuple(absent))
    agreement = agreement.model_copy(update={"stance": overall(agreement.rows)})
    row = finding(report, agreement.rows, engines)
    return report.model_copy(
        update={
            "opinions": tuple(opinions),
            "agreement": agreement,
            "engines": (*report.engines, *engines),
            "findings": numbered([*report.findings, row]),
        }
    )


def alone(report: FileReport) -> FileReport:
    """What engine one says by itself."""
    return report.model_copy(update={"findings": tuple(one for one in report.findings if one.code != CODE)})


def overall(rows: Iterable[AgreementRow]) -> Stance:
    """The worst of the rows; an engine that judges values alone may be silent."""
    stances = {row.stance for row in rows if not (row.stance is Stance.CANNOT_SAY and row.why == "value-only")}
    return next((each for each in (Stance.DIFFERS, Stance.CANNOT_SAY) if each in stances), Stance.AGREES)


def finding(report: FileReport, rows: Sequence[AgreementRow], engines: Sequence[str]) -> CheckFinding:
    """The one line about it: agreed, a notice, or a doubt that makes a passed file undetermined."""
    apart = [row for row in rows if row.stance is not Stance.AGREES]
    names = ", ".join(dict.fromkeys(row.field or report.file for row in apart))[:200]
    if any(_unsettling(row) for row in apart):
        return doubtful(CODE, CLAUSE, DISAGREE, Sub.CUSTOM, fields=names)
    if any(row.stance is Stance.DIFFERS and not row.stricter for row in apart):
        return notice(CODE, CLAUSE, "other-more-lenient", fields=names)
    if any(row.stance is Stance.DIFFERS for row in apart):
        return notice(CODE, CLAUSE, "other-stricter", fields=names)
    if overall(rows) is Stance.CANNOT_SAY:
        return notice(CODE, CLAUSE, "other-cannot-say", fields=names)
    return passed(CODE, CLAUSE, found=", ".join(engines))


def _unsettling(row: AgreementRow) -> bool:
    """A difference that takes trust away: the other refuses, or sees more, and no known reason explains it."""
    if row.stance is not Stance.DIFFERS or not row.stricter or row.why is not None:
        return False
    return row.on == "signatures" or row.other != Verdict.UNDETERMINED.value


def compare(report: FileReport, opinions: Sequence[Opinion]) -> tuple[AgreementRow, ...]:
    """Every point on which an opinion can be held against the report, signature by signature."""
    rows: list[AgreementRow] = []
    for engine in dict.fromkeys(one.engine for one in opinions):
        rows += _compared(report, engine, [one for one in opinions if one.engine == engine])
    return tuple(rows)


def _compared(report: FileReport, engine: str, opinions: list[Opinion]) -> list[AgreementRow]:
    listed: list[_Signed] = [*report.signatures, *report.timestamps]
    whole = next((one for one in opinions if one.scope is Scope.FILE), None)
    if whole is not None:
        return [_whole(report, engine, whole)]
    rows: list[AgreementRow] = []
    left = list(opinions)
    values_only = all(one.scope is Scope.VALUE for one in opinions)
    for signed in listed:
        opinion = _matching(signed, left)
        if opinion is not None:
            left.remove(opinion)
            rows += _points(signed, opinion)
        elif not values_only:
            hidden = isinstance(signed, SignatureReport) and signed.kind == "unlisted"
            rows.append(
                AgreementRow(
                    engine=engine,
                    field=signed.field,
                    on="signatures",
                    stance=Stance.DIFFERS,
                    one="present",
                    other="absent",
                    why="hidden-signature" if hidden else None,
                )
            )
    rows += [
        AgreementRow(
            engine=engine,
            field=one.field,
            on="signatures",
            stance=Stance.DIFFERS,
            one="absent",
            other="present",
            stricter=True,
        )
        for one in left
        if one.scope is not Scope.VALUE
    ]
    return rows


def _whole(report: FileReport, engine: str, opinion: Opinion) -> AgreementRow:
    row = AgreementRow(
        engine=engine,
        field=None,
        on="signatures",
        stance=Stance.AGREES,
        one=report.integrity.value,
        other=opinion.integrity.value if opinion.integrity else (opinion.reason or "?"),
    )
    if opinion.integrity is None:
        why = _why_silent(opinion)
        return row.model_copy(update={"stance": Stance.CANNOT_SAY, "stricter": True, "why": why})
    if opinion.integrity is report.integrity:
        return row
    hidden = all(one.kind == "unlisted" for one in report.signatures) and not report.timestamps
    return row.model_copy(update={"stance": Stance.DIFFERS, "why": "hidden-signature" if hidden else None})


def _matching(signed: _Signed, opinions: list[Opinion]) -> Opinion | None:
    """By field; else by where the signed bytes end, since one value may stand under several fields."""
    end = signed.signed_octets if isinstance(signed, SignatureReport) else None
    return next(
        (one for one in opinions if one.field is not None and one.field == signed.field),
        next((one for one in opinions if end is not None and one.signed_octets == end), None),
    )


def _points(signed: _Signed, opinion: Opinion) -> list[AgreementRow]:
    # Who looked at the digest and the value alone says nothing of later changes.
    whole = {Integrity.INTACT} if opinion.scope is not Scope.VALUE else set(Integrity) - {Integrity.BROKEN}
    rows = [_compare(signed, opinion, "integrity", signed.integrity, opinion.integrity, whole)]
    if opinion.scope is not Scope.VALUE and rows[0].stance is not Stance.CANNOT_SAY:
        rows.append(_compare(signed, opinion, "verdict", signed.verdict, opinion.verdict, {Verdict.PASSED}))
    return rows


def _compare(
    signed: _Signed,
    opinion: Opinion,
    on: Literal["integrity", "verdict"],
    mine: Integrity | Verdict,
    theirs: Integrity | Verdict | None,
    good: Set[Integrity | Verdict],
) -> AgreementRow:
    """One point: they agree where both are good or neither is."""
    row = AgreementRow(
        engine=opinion.engine,
        field=signed.field,
        on=on,
        stance=Stance.AGREES,
        one=mine.value,
        other=theirs.value if theirs else (opinion.reason or "?"),
    )
    if theirs is None:
        why = _why_silent(opinion)
        return row.model_copy(update={"stance": Stance.CANNOT_SAY, "stricter": True, "why": why})
    if (mine in good) == (theirs in good):
        return row
    why = _why_stricter(signed, opinion) if mine in good else _why_lenient(signed)
    return row.model_copy(update={"stance": Stance.DIFFERS, "stricter": mine in good, "why": why})


def _why_lenient(signed: _Signed) -> str | None:
    """Why the other accepts what engine one refuses: by the checks that engine one says do not hold."""
    rows = [*signed.findings]
    if isinstance(signed, SignatureReport):
        rows += [row for stamp in signed.timestamps for row in stamp.findings]
    rows = [row for row in rows if row.outcome in (Outcome.FAILED, Outcome.UNDETERMINED)]
    for starts, name in _LENIENT_BY_REASON:
        if any((row.reason or "").startswith(starts) for row in rows):
            return name
    for checks, name in _LENIENT_BY_CHECK:
        if any(row.code in checks for row in rows):
            return name
    return None


def _why_silent(opinion: Opinion) -> str | None:
    """Why the other cannot say."""
    if opinion.scope is Scope.VALUE:
        return "value-only"
    if opinion.reason == "exception":
        where = opinion.detail.get("where", "")
        return next(name for start, name in _LEAKS if where.startswith(start))
    return _STRICTER_BY_REASON.get(opinion.reason or "")


def _why_stricter(signed: _Signed, opinion: Opinion) -> str | None:
    """Why the other refuses what engine one accepts: by its own reason, or by what it is known to misjudge."""
    if opinion.reason in _STRICTER_BY_REASON:
        return _STRICTER_BY_REASON[opinion.reason]
    kinds = {change.what for change in signed.changes}
    stores = "validation-data-added" in kinds and kinds <= _MAINTENANCE
    if opinion.reason == "modification-suspicious" and (
        stores or opinion.detail.get("where", "").startswith(_ABOUT_STORES)
    ):
        return "validation-data-rewritten"
    if opinion.integrity is Integrity.INTACT and opinion.verdict is Verdict.UNDETERMINED:
        if opinion.sub_indication in _NOW_ONLY:
            return "judged-at-present-only"
        if opinion.sub_indication in _WANTS_STATUS:
            return "status-wanted-for-all"
    return None
