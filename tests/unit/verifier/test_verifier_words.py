"""The report's words and page: nothing without both languages, nothing from outside, nothing that runs."""

from __future__ import annotations

import ast
import base64
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.verifier import catalogue, report
from services.verifier.model import (
    FileReport,
    Indication,
    Integrity,
    LaterChange,
    NamedParty,
    SeenCertificate,
    SignatureReport,
    Sub,
    Verdict,
    failed,
    numbered,
    passed,
    unreadable,
)
from services.verifier.validation.people import masked

SERVICE = Path(report.__file__).parent
NOON = datetime(2026, 11, 24, 5, 5, tzinfo=UTC)
MAKERS = {"passed": 0, "notice": 1, "skipped": 1, "failed": 1, "doubtful": 1}


def assigned(node: ast.Assign):
    """The literals that are given to a name `reason`, alone or in a tuple."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=True)
        else:
            pairs = [(target, node.value)]
        for name, value in pairs:
            if isinstance(name, ast.Name) and name.id == "reason" and isinstance(value, ast.Constant):
                yield value.value


def calls():
    """Every literal code and reason in the source: (code, reason)."""
    for path in SERVICE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign):
                yield from ((None, why) for why in assigned(node))
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            literal = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
            if name in MAKERS and literal:
                yield literal[0], literal[2] if MAKERS[name] and len(literal) > 2 else None
            elif name in ("CmsFault", "CryptoFault", "Fault", "Rejected", "Unreadable", "unreadable") and literal:
                yield None, literal[0]


def test_every_check_and_every_reason_has_a_sentence_in_both_languages():
    found = list(calls())
    assert len(found) > 60
    assert {code for code, _ in found if code} - catalogue.CHECKS.keys() == set()
    assert {why for _, why in found if why} - catalogue.REASONS.keys() == set()


def test_every_text_has_both_languages_and_the_same_placeholders():
    holes = re.compile(r"\{(\w+)\}")
    for table in (catalogue.CHECKS, catalogue.REASONS, catalogue.SENTENCES, catalogue.LABELS, catalogue.CHANGES):
        for key, text in table.items():
            assert text.vi.strip(), key
            assert text.en.strip(), key
            assert set(holes.findall(text.vi)) == set(holes.findall(text.en)), key


def a_report(**changed) -> FileReport:
    who = NamedParty(name="<script>alert(1)</script>", organisation="Công ty & Sons", identifiers=("CCCD:•••345",))
    ca = NamedParty(name="CA thử nghiệm")
    signature = SignatureReport(
        field="buyer",
        kind="approval",
        integrity=Integrity.INTACT,
        indication=Indication.PASSED,
        level="PAdES-BASELINE-LTA",
        claimed_time=NOON,
        proven_time=NOON,
        certificate=SeenCertificate(
            sha256="ab" * 32,
            serial="1",
            subject=who,
            issuer=ca,
            managed_by=NamedParty(name="Gốc thử nghiệm"),
            not_before=NOON,
            not_after=NOON,
            key="RSA-3072",
        ),
        changes=(LaterChange(revision=1, page=2, what="signature-added", detail="x", allowed=True),),
        findings=numbered(
            [passed("path", "RFC 5280 6.1", anchor="Gốc"), failed("tail", "ISO", "tail-unreadable", Sub.FORMAT_FAILURE)]
        ),
    )
    values = {
        "file": "hợp-đồng.pdf",
        "sha256": "0123456789abcdef" * 4,
        "size": 1234567,
        "judged_at": NOON,
        "integrity": Integrity.INTACT,
        "signatures": (signature,),
    }
    return FileReport(**values | changed)


def test_the_page_is_self_contained_and_runs_nothing():
    page = report.html(a_report())
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src &#39;sha256-{digest}&#39;" in page
    assert f"'sha256-{digest}'" in report.content_security_policy()
    assert "default-src 'none'" in report.content_security_policy()
    assert "<script" not in page
    assert " style=" not in page
    assert not re.search(r"(src|href)=|url\(|https?://|@import", page)


def test_names_from_a_certificate_are_text_and_never_markup():
    page = report.html(a_report())
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Công ty &amp; Sons" in page


def test_the_eight_fields_of_the_circular_are_there():
    """Circular 15/2025/TT-BKHCN Art 6 (V8): (a) to (g), in Vietnamese."""
    page = report.html(a_report())
    for letter, label in zip(
        "abcdefg",
        ("issuer", "signer", "manager", "time", "integrity", "validity-then", "validity-period"),
        strict=True,
    ):
        assert f"({letter}) " in page
        assert catalogue.LABELS[label].vi in page
    assert "24/11/2026 12:05 (GMT+7)" in page
    assert '<html lang="vi">' in page
    assert page.index("Đạt") < page.index("Passed")


def test_a_digest_shows_its_first_eight_and_the_rest():
    assert '<strong>01234567</strong><span class="rest">89abcdef' in report.html(a_report())


@pytest.mark.parametrize(
    ("made", "key"),
    [
        (a_report(), "passed-one"),
        (a_report(integrity=Integrity.CHANGED), "failed-changed"),
        (a_report(integrity=Integrity.BROKEN), "failed-broken"),
        (a_report(integrity=Integrity.UNSIGNED, signatures=()), "unsigned"),
        (unreadable("x", "encrypted", NOON), "unreadable"),
    ],
)
def test_the_answer_comes_first_and_in_one_sentence(made, key):
    said = report.sentence(made)
    begun = catalogue.SENTENCES[key].filled({"signatures": 1, "failing": 0})
    if key == "unreadable":  # and why, with what to do
        why = catalogue.REASONS["encrypted"]
        begun = catalogue.Text(f"{begun.vi} {why.vi}", f"{begun.en} {why.en}")
    assert said == begun
    page = report.html(made)
    assert said.vi in page
    assert said.en in page
    word = catalogue.VERDICTS[made.verdict.value]
    assert report.ICONS[made.verdict.value] in page
    assert word.vi in page


def test_a_verdict_is_never_colour_alone():
    for verdict in Verdict:
        assert report.ICONS[verdict.value]
        assert catalogue.VERDICTS[verdict.value].vi


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        ("CCCD:001085012345", "CCCD:•••••••••345"),
        ("PNOVN-001085012345", "PNOVN:•••••••••345"),
        ("001085012345", "•••••••••345"),
        ("MST:0109876543", "MST:0109876543"),
        ("VATVN-0109876543-001", "VATVN-0109876543-001"),
    ],
)
def test_personal_numbers_are_masked_and_tax_codes_are_not(identifier, shown):
    assert masked(identifier) == shown
