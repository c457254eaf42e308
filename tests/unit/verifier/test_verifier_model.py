"""The verdict's rules: what decides, what beats what, and what speaks against a release."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.verifier.model import (
    Agreement,
    CheckFinding,
    FileReport,
    Indication,
    Integrity,
    LaterChange,
    NamedParty,
    SeenCertificate,
    SignatureReport,
    Stance,
    Sub,
    TimestampReport,
    Verdict,
    conclude,
    doubtful,
    failed,
    notice,
    numbered,
    passed,
    skipped,
    unreadable,
)
from services.verifier.release import Claim, lowest_level, objection

NOON = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
SHA = "ab" * 32
LTA = "PAdES-BASELINE-LTA"
CLAIM = Claim(starts_right=True, base_size=100, certificate=SHA, field="buyer", level=LTA)
SINCE = passed("since-base", "x")


def certificate() -> SeenCertificate:
    who = NamedParty(name="Nguyễn Văn A")
    return SeenCertificate(
        sha256=SHA, serial="1", subject=who, issuer=who, not_before=NOON, not_after=NOON + timedelta(days=9), key="RSA"
    )


def signature(**changed) -> SignatureReport:
    values = {
        "field": "buyer",
        "kind": "approval",
        "integrity": Integrity.INTACT,
        "indication": Indication.PASSED,
        "level": LTA,
        "certificate": certificate(),
        "signed_octets": 200,
    }
    return SignatureReport(**values | changed)


def stamp(indication=Indication.PASSED) -> TimestampReport:
    return TimestampReport(kind="document", imprint_ok=True, trusted=True, indication=indication)


def report(*signatures: SignatureReport, **changed) -> FileReport:
    values = {
        "file": "x.pdf",
        "judged_at": NOON,
        "integrity": Integrity.INTACT,
        "signatures": signatures or (signature(),),
        "findings": (SINCE,),
        "since_base": (),
        "agreement": Agreement(stance=Stance.AGREES),
    }
    return FileReport(**values | changed)


def test_only_total_passed_is_passed():
    """Circular 15/2025/TT-BKHCN Art 6 (V7): "hợp lệ" only for TOTAL-PASSED; unknown is never green."""
    assert Verdict.of(Indication.PASSED) is Verdict.PASSED
    assert Verdict.of(Indication.FAILED) is Verdict.FAILED
    assert Verdict.of(Indication.INDETERMINATE) is Verdict.UNDETERMINED


def test_a_failure_decides_before_a_doubt_whatever_their_order():
    rows = [
        passed("a", "x"),
        doubtful("b", "x", "y", Sub.TRY_LATER),
        notice("c", "x", "y"),
        skipped("d", "x", "y"),
        failed("e", "x", "y", Sub.HASH_FAILURE),
    ]
    assert conclude(rows) == (Indication.FAILED, Sub.HASH_FAILURE)
    assert conclude(rows[:4]) == (Indication.INDETERMINATE, Sub.TRY_LATER)
    assert conclude([rows[0], *rows[2:4]]) == (Indication.PASSED, None)
    assert [row.number for row in numbered(rows)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (report(), Verdict.PASSED),
        (report(signature(indication=Indication.INDETERMINATE)), Verdict.UNDETERMINED),
        (report(signature(), signature(indication=Indication.INDETERMINATE)), Verdict.UNDETERMINED),
        (
            report(signature(indication=Indication.INDETERMINATE), signature(indication=Indication.FAILED)),
            Verdict.FAILED,
        ),
        (report(integrity=Integrity.CHANGED), Verdict.FAILED),
        (report(integrity=Integrity.BROKEN), Verdict.FAILED),
        (report(integrity=Integrity.UNSIGNED), Verdict.UNDETERMINED),
        (report(timestamps=(stamp(Indication.INDETERMINATE),)), Verdict.UNDETERMINED),
        (report(timestamps=(stamp(Indication.FAILED),)), Verdict.FAILED),
        (report(findings=(doubtful("fields", "x", "y", Sub.FORMAT_FAILURE),)), Verdict.UNDETERMINED),
        (unreadable("x.pdf", "not-a-pdf", NOON), Verdict.UNDETERMINED),
    ],
)
def test_a_file_is_worth_its_worst_part(made, verdict):
    assert made.verdict is verdict


def test_a_file_with_timestamps_alone_is_not_passed():
    assert (
        report(integrity=Integrity.INTACT, timestamps=(stamp(),)).model_copy(update={"signatures": ()}).verdict
        is Verdict.UNDETERMINED
    )


def test_nothing_speaks_against_what_was_asked_for():
    assert objection(report(), CLAIM) is None


ALLOWED = LaterChange(revision=2, what="validation-data-added", allowed=True)


@pytest.mark.parametrize(
    ("made", "claim", "reason"),
    [
        (report(), {"starts_right": False}, "not-what-was-agreed"),
        (unreadable("x", "encrypted", NOON), {}, "cannot-be-verified"),
        (report(signature(signed_octets=90)), {}, "no-new-signature"),
        (report(signature(), signature(field="other", signed_octets=300)), {}, "several-new-signatures"),
        (report(signature(signed_octets=90), signature(signed_octets=None)), {"field": "other"}, "wrong-field"),
        (report(signature(kind="certification")), {}, "not-an-approval"),
        (report(signature(certificate=None)), {}, "wrong-certificate"),
        (report(), {"certificate": "cd" * 32}, "wrong-certificate"),
        (report(), {"field": "seller"}, "wrong-field"),
        (report(integrity=Integrity.BROKEN), {}, "signature-broken"),
        (report(integrity=Integrity.CHANGED), {}, "changed-after-signing"),
        (report(since_base=None), {}, "more-than-a-signature"),
        (
            report(findings=(failed("since-base", "x", "not-proven-harmless", Sub.FORMAT_FAILURE),)),
            {},
            "more-than-a-signature",
        ),
        (
            report(since_base=(LaterChange(revision=1, what="form-field-filled", allowed=True),)),
            {},
            "more-than-a-signature",
        ),
        (
            report(signature(changes=(LaterChange(revision=1, what="page-content", allowed=True),))),
            {},
            "more-than-a-signature",
        ),
        (report(signature(indication=Indication.FAILED)), {}, "failed"),
        (report(signature(indication=Indication.INDETERMINATE)), {}, "undetermined"),
        (report(signature(level="PAdES-BASELINE-T")), {}, "level-not-reached"),
        (report(signature(level=None)), {}, "level-not-reached"),
        (report(agreement=Agreement(stance=Stance.DIFFERS)), {}, "engines-disagree"),
        (report(agreement=Agreement(stance=Stance.CANNOT_SAY)), {}, "engines-disagree"),
        (report(agreement=None), {}, "engines-disagree"),
        (
            report(
                findings=(SINCE, doubtful("engines", "x", "engines-disagree", Sub.CUSTOM)),
                agreement=Agreement(stance=Stance.DIFFERS),
            ),
            {},
            "engines-disagree",
        ),
    ],
)
def test_each_objection_has_its_own_reason(made, claim, reason):
    """Decree 23/2025/ND-CP Art 16: whoever relies without checking bears the loss; so nothing is released unchecked."""
    assert objection(made, CLAIM.model_copy(update=claim)) == reason


def test_a_higher_level_than_claimed_is_welcome():
    assert objection(report(), CLAIM.model_copy(update={"level": "PAdES-BASELINE-B"})) is None
    assert objection(report(signature(changes=(ALLOWED,)), since_base=(ALLOWED,)), CLAIM) is None


def test_the_lowest_level_counts():
    assert lowest_level(report(signature(), signature(level="PAdES-BASELINE-T"))) == "PAdES-BASELINE-T"
    assert lowest_level(report(signature(), signature(level=None))) is None
    assert lowest_level(unreadable("x", "y", NOON)) is None


def test_a_report_survives_its_way_across_a_process_border():
    made = report(signature(findings=numbered([failed("path", "x", "no-path", Sub.NO_CERTIFICATE_CHAIN_FOUND)])))
    again = FileReport.model_validate_json(made.model_dump_json())
    assert again == made
    assert made.model_dump(mode="json")["verdict"] == made.verdict


def test_a_verdict_in_the_json_is_never_believed():
    """The summary is derived from the findings, whatever a file says."""
    forged = report(signature(indication=Indication.FAILED)).model_dump(mode="json") | {"verdict": "passed"}
    assert FileReport.model_validate(forged).verdict is Verdict.FAILED


def test_a_timestamp_is_trusted_only_when_there_is_one():
    assert signature().timestamp_trusted is None
    bad = TimestampReport(kind="signature", imprint_ok=True, trusted=False, indication=Indication.INDETERMINATE)
    assert signature(timestamps=(bad,)).timestamp_trusted is False


def test_the_line_for_machines_names_every_signature():
    line = report().line()
    assert line["signatures"][0]["signer"] == "Nguyễn Văn A"
    assert line["signatures"][0]["proven_time"] is None
    assert CheckFinding(code="x", outcome="passed", clause="y").weight is None
