"""Two engines held against each other: what agrees, what does not, what is known of it, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.verifier import agreement, catalogue
from services.verifier.agreement import alone, compare, overall, settle
from services.verifier.model import (
    Agreement,
    AgreementRow,
    CheckFinding,
    FileReport,
    Indication,
    Integrity,
    LaterChange,
    Opinion,
    Outcome,
    Scope,
    SignatureReport,
    Stance,
    Sub,
    TimestampReport,
    Verdict,
    doubtful,
    failed,
)
from services.verifier.report import agreement as line
from services.verifier.report import differences, html

NOON = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
ENGINES = ("pyhanko 1",)


def signature(**changed) -> SignatureReport:
    values = {
        "field": "buyer",
        "kind": "approval",
        "signed_octets": 200,
        "integrity": Integrity.INTACT,
        "indication": Indication.PASSED,
    }
    return SignatureReport(**values | changed)


def refused(integrity: Integrity, *findings: CheckFinding, **changed) -> SignatureReport:
    indication = Indication.INDETERMINATE if integrity is Integrity.INTACT else Indication.FAILED
    return signature(integrity=integrity, indication=indication, findings=findings, **changed)


def report(*signatures: SignatureReport, **changed) -> FileReport:
    each = [one.integrity for one in signatures]
    worst = next((one for one in (Integrity.BROKEN, Integrity.CHANGED, Integrity.INTACT) if one in each), None)
    values = {
        "file": "x.pdf",
        "judged_at": NOON,
        "integrity": worst or Integrity.UNSIGNED,
        "signatures": signatures,
        "engines": ("one",),
    }
    return FileReport(**values | changed)


def opinion(**changed) -> Opinion:
    values = {
        "engine": "pyhanko",
        "scope": Scope.SIGNATURE,
        "field": "buyer",
        "signed_octets": 200,
        "integrity": Integrity.INTACT,
        "verdict": Verdict.PASSED,
    }
    return Opinion(**values | changed)


def settled(one: FileReport, *opinions: Opinion) -> FileReport:
    return settle(one, opinions, engines=ENGINES)


def outcome(made: FileReport) -> tuple[Outcome, str | None]:
    found = made.findings[-1]
    assert found.code == "engines"
    return found.outcome, found.reason


def apart(made: FileReport) -> list[tuple[str, str | None]]:
    assert made.agreement is not None
    return [(row.on, row.why) for row in made.agreement.rows if row.stance is not Stance.AGREES]


# --- agreement --------------------------------------------------------------------------------------------------------


def test_engines_that_say_the_same_agree_and_the_file_stays_passed():
    made = settled(report(signature()), opinion())
    assert made.agreement is not None
    assert made.agreement.stance is Stance.AGREES
    assert made.verdict is Verdict.PASSED
    assert outcome(made) == (Outcome.PASSED, None)
    assert made.engines == ("one", "pyhanko 1")
    assert [row.on for row in made.agreement.rows] == ["integrity", "verdict"]


def test_two_refusals_agree_whatever_their_words():
    """The gate asks whether both would release; changed or broken, failed or undetermined is engine one's to say."""
    broken = refused(Integrity.BROKEN, failed("hash-equal", "x", "message-digest-differs", Sub.HASH_FAILURE))
    made = settled(report(broken), opinion(integrity=Integrity.CHANGED, verdict=Verdict.FAILED))
    assert made.agreement is not None
    assert made.agreement.stance is Stance.AGREES
    doubt = refused(Integrity.INTACT, doubtful("path", "x", "no-anchors", Sub.NO_CERTIFICATE_CHAIN_FOUND))
    assert settled(report(doubt), opinion(verdict=Verdict.FAILED)).agreement.stance is Stance.AGREES


def test_one_value_under_two_fields_is_matched_by_where_its_bytes_end():
    assert apart(settled(report(signature(field="twin")), opinion())) == []


def test_an_unsigned_file_on_which_both_agree():
    nothing = opinion(scope=Scope.FILE, field=None, integrity=Integrity.UNSIGNED, verdict=None, reason="no-signature")
    assert settled(report(), nothing).agreement.stance is Stance.AGREES


# --- differences that take trust away ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"integrity": Integrity.CHANGED, "verdict": Verdict.FAILED, "reason": "coverage-unclear"},
        {"integrity": Integrity.CHANGED, "verdict": Verdict.FAILED, "reason": "modification-suspicious"},
        {"integrity": Integrity.CHANGED, "verdict": Verdict.FAILED, "reason": "beyond-permission"},
        {"integrity": Integrity.BROKEN, "verdict": Verdict.FAILED, "reason": "digest-differs"},
        {"integrity": Integrity.BROKEN, "verdict": Verdict.FAILED, "reason": "value-does-not-fit"},
        {"verdict": Verdict.FAILED, "indication": Indication.FAILED, "sub_indication": "REVOKED"},
    ],
)
def test_a_refusal_that_nothing_known_explains_makes_a_passed_file_undetermined(said):
    """verification.md, "hence two engines": each errs, so a difference that is not understood is nobody's green."""
    made = settled(report(signature()), opinion(**said))
    assert (made.verdict, made.integrity) == (Verdict.UNDETERMINED, Integrity.INTACT)
    assert outcome(made) == (Outcome.UNDETERMINED, "engines-disagree")
    assert alone(made).verdict is Verdict.PASSED


def test_a_signature_that_only_the_other_sees_makes_the_file_undetermined():
    made = settled(report(signature()), opinion(), opinion(field="other", signed_octets=900))
    assert made.verdict is Verdict.UNDETERMINED
    assert apart(made) == [("signatures", None)]
    assert settled(report(), opinion()).findings[-1].reason == "engines-disagree"


# --- differences that are known ---------------------------------------------------------------------------------------

MAINTAINED = (
    LaterChange(revision=2, what="validation-data-added", allowed=True),
    LaterChange(revision=3, what="document-timestamp-added", allowed=True),
)
STRICTER = [
    (
        opinion(integrity=Integrity.BROKEN, verdict=Verdict.FAILED, reason="attributes-not-der"),
        "attributes-encoded-anew",
    ),
    (
        opinion(integrity=Integrity.CHANGED, verdict=Verdict.FAILED, reason="modification-suspicious"),
        "validation-data-rewritten",
    ),
    (
        opinion(verdict=Verdict.UNDETERMINED, sub_indication="OUT_OF_BOUNDS_NO_POE"),
        "judged-at-present-only",
    ),
    (opinion(verdict=Verdict.UNDETERMINED, sub_indication="TRY_LATER"), "status-wanted-for-all"),
]
LEAKS = [
    ("xref.XRefCache.get_introducing_revision", "dangling-references"),
    ("util.get_pyca_cryptography_hash", "digest-name-unknown"),
    ("sig_validate._validate_raw", "key-not-loadable"),
    ("reader.PdfFileReader.decrypt", "other-cannot-decrypt"),
    ("reader.process_data_at_eof", "other-cannot-read"),
    ("pdf_embedded.__init__", "other-leaks-exceptions"),
]
SILENT = [
    ("refused-by-rule", "other-has-no-rule"),
    ("timestamp-without-type", "timestamp-without-type"),
    ("sub-filter-unsupported", "kind-not-judged"),
    ("encrypted", "other-cannot-decrypt"),
    ("took-too-long", "other-ran-out"),
    ("too-many-signatures", "other-ran-out"),
]


@pytest.mark.parametrize(("said", "why"), STRICTER, ids=[why for _, why in STRICTER])
def test_a_stricter_engine_with_a_known_reason_is_a_notice(said, why):
    made = settled(report(signature(changes=MAINTAINED)), said)
    assert made.verdict is Verdict.PASSED
    assert outcome(made) == (Outcome.NOTICE, "other-stricter")
    assert {each for _, each in apart(made)} == {why}
    assert made.agreement is not None
    assert made.agreement.stance is Stance.DIFFERS, "understood or not, the gate does not release it"


def test_suspicion_is_explained_only_by_maintenance_alone():
    """A change of anything but validation data is not excused by validation data that came along."""
    said = opinion(integrity=Integrity.CHANGED, verdict=Verdict.FAILED, reason="modification-suspicious")
    filled = (*MAINTAINED, LaterChange(revision=3, what="form-field-filled", allowed=True))
    assert settled(report(signature(changes=filled)), said).verdict is Verdict.UNDETERMINED
    assert settled(report(signature(changes=MAINTAINED[1:])), said).verdict is Verdict.UNDETERMINED


@pytest.mark.parametrize(("reason", "why"), SILENT)
def test_an_engine_that_cannot_say_is_a_notice_and_no_agreement(reason, why):
    made = settled(report(signature()), opinion(integrity=None, verdict=None, reason=reason))
    assert made.verdict is Verdict.PASSED
    assert outcome(made) == (Outcome.NOTICE, "other-cannot-say")
    assert apart(made) == [("integrity", why)]
    assert made.agreement is not None
    assert made.agreement.stance is Stance.CANNOT_SAY


@pytest.mark.parametrize(("where", "why"), LEAKS)
def test_an_exception_is_explained_by_where_it_comes_from(where, why):
    """verification.md, item 9 and 10: good signatures that raise, and more than 55 places that leak exceptions."""
    detail = {"fault": "KeyError", "where": where}
    made = settled(report(signature()), opinion(integrity=None, verdict=None, reason="exception", detail=detail))
    assert apart(made) == [("integrity", why)]


def test_pyhankos_own_rule_about_validation_data_explains_its_suspicion():
    said = opinion(
        integrity=Integrity.CHANGED,
        verdict=Verdict.FAILED,
        reason="modification-suspicious",
        detail={"where": "form_field_rules.DSSCompareRule._check_vri"},
    )
    assert {why for _, why in apart(settled(report(signature()), said))} == {"validation-data-rewritten"}


def test_an_engine_that_fails_on_trust_alone_has_still_said_something_of_integrity():
    made = settled(report(signature()), opinion(verdict=None, reason="exception"))
    assert apart(made) == [("verdict", "other-leaks-exceptions")]


def test_an_engine_that_could_not_read_the_file_at_all_cannot_say():
    made = settled(report(signature()), opinion(scope=Scope.FILE, field=None, integrity=None, reason="exception"))
    assert made.agreement is not None
    assert made.agreement.stance is Stance.CANNOT_SAY


LENIENT = [
    (Integrity.BROKEN, failed("byte-range", "x", "gap-not-one-hex-string", Sub.FORMAT_FAILURE), "coverage-by-sum"),
    (Integrity.BROKEN, failed("byte-range", "x", "byte-range-start", Sub.FORMAT_FAILURE), "coverage-by-sum"),
    (Integrity.BROKEN, failed("byte-range", "x", "dictionary-elsewhere", Sub.FORMAT_FAILURE), "coverage-by-sum"),
    (Integrity.CHANGED, failed("tail", "x", "tail-without-revision", Sub.FORMAT_FAILURE), "tail-ignored"),
    (Integrity.INTACT, doubtful("parsing", "x", "defined-again", Sub.CUSTOM), "definition-not-looked-for"),
    (
        Integrity.CHANGED,
        failed("changes", "x", "form-field-replaced", Sub.FORMAT_FAILURE),
        "replacement-as-form-filling",
    ),
    (
        Integrity.BROKEN,
        failed("format", "x", "content-encapsulated", Sub.FORMAT_FAILURE),
        "content-not-looked-at",
    ),
    (
        Integrity.INTACT,
        doubtful("format", "x", "no-signed-attributes", Sub.SIG_CONSTRAINTS_FAILURE),
        "attributes-not-required",
    ),
    (
        Integrity.INTACT,
        doubtful("token-time", "x", "from-the-future", Sub.TIMESTAMP_ORDER_FAILURE),
        "timestamps-not-placed-in-time",
    ),
    (
        Integrity.INTACT,
        failed("algorithms", "x", "algorithm-forbidden", Sub.CRYPTO_CONSTRAINTS_FAILURE),
        "weak-algorithms-not-refused",
    ),
    (Integrity.INTACT, doubtful("status", "x", "no-evidence", Sub.TRY_LATER), "status-judged-differently"),
    (
        Integrity.INTACT,
        doubtful("extended-usage", "x", "purpose-does-not-fit", Sub.CHAIN_CONSTRAINTS_FAILURE),
        "rule-of-engine-one",
    ),
]


@pytest.mark.parametrize(("integrity", "finding", "why"), LENIENT, ids=[one[1].reason for one in LENIENT])
def test_a_more_lenient_engine_changes_nothing_and_is_explained(integrity, finding, why):
    """verification.md, "Where pyHanko 0.38 misleads": each of its items by name."""
    one = report(refused(integrity, finding))
    made = settled(one, opinion())
    assert (made.verdict, made.integrity) == (one.verdict, one.integrity)
    assert outcome(made) == (Outcome.NOTICE, "other-more-lenient")
    assert {each for _, each in apart(made)} == {why}


def test_a_timestamp_within_a_signature_explains_it_too():
    late = doubtful("token-time", "x", "from-the-future", Sub.TIMESTAMP_ORDER_FAILURE)
    token = TimestampReport(
        kind="signature", imprint_ok=True, trusted=False, indication=Indication.INDETERMINATE, findings=(late,)
    )
    made = settled(report(refused(Integrity.INTACT, timestamps=(token,))), opinion())
    assert apart(made) == [("verdict", "timestamps-not-placed-in-time")]


def test_a_signature_that_the_document_no_longer_lists_is_seen_by_engine_one_alone():
    hidden = refused(Integrity.CHANGED, kind="unlisted", field="@200")
    made = settled(report(hidden, signature(signed_octets=100)), opinion(signed_octets=100))
    assert apart(made) == [("signatures", "hidden-signature")]
    nothing = opinion(scope=Scope.FILE, field=None, integrity=Integrity.UNSIGNED, verdict=None)
    assert apart(settled(report(hidden), nothing)) == [("signatures", "hidden-signature")]


# --- an engine that judges values alone -------------------------------------------------------------------------------


def value(**changed) -> Opinion:
    values = {"engine": "endesive", "scope": Scope.VALUE, "field": None, "verdict": None}
    return opinion(**values | changed)


def test_values_alone_are_compared_with_values_alone():
    """Later changes, trust, and signatures that it does not see are not its business."""
    changed = refused(Integrity.CHANGED, failed("tail", "x", "tail-without-revision", Sub.FORMAT_FAILURE))
    assert apart(settled(report(changed, signature(field="b", signed_octets=9)), value())) == []


def test_a_value_that_does_not_fit_is_a_difference():
    said = value(integrity=Integrity.BROKEN, reason="value-does-not-fit")
    assert settled(report(signature()), opinion(), said).verdict is Verdict.UNDETERMINED


def test_its_silence_is_no_disagreement():
    made = settled(report(signature()), opinion(), value(integrity=None, reason="exception"))
    assert made.agreement is not None
    assert made.agreement.stance is Stance.AGREES


# --- laws -------------------------------------------------------------------------------------------------------------

SIGNED = st.builds(
    SignatureReport,
    field=st.sampled_from(["a", "b", "c"]),
    kind=st.sampled_from(["approval", "unlisted"]),
    signed_octets=st.sampled_from([None, 100, 200]),
    integrity=st.sampled_from([Integrity.INTACT, Integrity.CHANGED, Integrity.BROKEN]),
    indication=st.sampled_from(list(Indication)),
)
SAID = st.builds(
    Opinion,
    engine=st.sampled_from(["pyhanko", "endesive"]),
    scope=st.sampled_from([Scope.SIGNATURE, Scope.VALUE]),
    field=st.sampled_from([None, "a", "b", "c"]),
    signed_octets=st.sampled_from([None, 100, 200]),
    integrity=st.sampled_from([None, Integrity.INTACT, Integrity.CHANGED, Integrity.BROKEN]),
    verdict=st.sampled_from([None, *Verdict]),
    reason=st.sampled_from([None, "exception", "digest-differs"]),
)


@given(st.lists(SIGNED, max_size=3), st.lists(SAID, min_size=1, max_size=4))
def test_no_opinion_ever_makes_a_file_look_better(signatures, opinions):
    one = report(*signatures)
    made = settled(one, *opinions)
    order = [Verdict.PASSED, Verdict.UNDETERMINED, Verdict.FAILED]
    assert order.index(made.verdict) >= order.index(one.verdict)
    assert made.integrity is one.integrity
    assert alone(made).verdict is one.verdict


@given(st.lists(SIGNED, max_size=3), st.lists(SAID, min_size=1, max_size=4))
def test_agreement_on_a_passed_file_means_that_every_signature_passed_twice(signatures, opinions):
    opinions = [one for one in opinions if one.engine == "pyhanko" and one.scope is Scope.SIGNATURE]
    rows = compare(report(*signatures), opinions)
    if signatures and opinions and overall(rows) is Stance.AGREES and report(*signatures).verdict is Verdict.PASSED:
        assert len(opinions) == len(signatures)
        assert all(one.integrity is Integrity.INTACT and one.verdict is Verdict.PASSED for one in opinions)


def test_every_known_reason_has_its_sentence_and_its_test():
    assert set(catalogue.EXPLANATIONS) == agreement.KNOWN
    tried = (
        {why for _, why in STRICTER}
        | {why for _, why in LEAKS}
        | {why for _, why in SILENT}
        | {why for *_, why in LENIENT}
    )
    assert agreement.KNOWN - tried == {"hidden-signature", "value-only"}


def test_the_report_says_in_one_line_who_was_asked_and_what_is_known_of_a_difference():
    made = settle(
        report(signature()),
        [opinion(integrity=Integrity.CHANGED, verdict=Verdict.FAILED, reason="coverage-unclear")],
        engines=ENGINES,
        absent=("endesive",),
    )
    said = line(made)
    assert said is not None
    assert said.en == "The engines differ: one, pyhanko 1, endesive not asked (not installed)"
    assert [each.en for each in differences(made)] == [
        "pyhanko, buyer: integrity: Intact ≠ Changed after signing. For no known reason.",
        "pyhanko, buyer: verdict: Passed ≠ Failed. For no known reason.",
    ]
    assert "The engines differ" in html(made)
    assert line(report(signature())) is None


def test_the_line_for_machines_names_the_engines_and_their_differences():
    made = settled(report(signature()), opinion(integrity=None, verdict=None, reason="exception"))
    assert made.line()["engines"] == {
        "asked": ["one", "pyhanko 1"],
        "agreement": "cannot-say",
        "differences": [
            {
                "engine": "pyhanko",
                "field": "buyer",
                "on": "integrity",
                "stance": "cannot-say",
                "one": "intact",
                "other": "exception",
                "stricter": True,
                "why": "other-leaks-exceptions",
            }
        ],
    }
    assert report(signature()).line()["engines"]["agreement"] == "not-asked"


def test_a_report_with_opinions_survives_its_way_across_a_process_border():
    made = settled(report(signature()), opinion())
    assert FileReport.model_validate_json(made.model_dump_json()) == made
    assert isinstance(made.agreement, Agreement)
    assert isinstance(made.agreement.rows[0], AgreementRow)
