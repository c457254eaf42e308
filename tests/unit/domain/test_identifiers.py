"""Tax codes, personal numbers and subject identifiers, against published numbers and by property."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import TaxCodeKind, from_subject, personal_number, tax_code
from events.errors import Refused
from lab.people import citizen, firm

PUBLISHED = ("0100112437", "0104359717", "0313994173", "0100109106", "0106323762")
"""Tax codes of well-known enterprises, from their published invoices and registry entries."""
WEIGHTS = (31, 29, 23, 19, 17, 13, 7, 5, 3)


@pytest.mark.parametrize("code", PUBLISHED)
def test_published_tax_codes_are_valid(code: str) -> None:
    """Circular 86/2024/TT-BTC: ten digits, the last a check digit."""
    assert tax_code(code).kind is TaxCodeKind.ORGANISATION
    assert tax_code(f" {code[:3]}.{code[3:]} ").digits == code
    branch = tax_code(f"{code}-001")
    assert (branch.kind, branch.shown, branch.digits) == (TaxCodeKind.DEPENDENT_UNIT, f"{code}-001", f"{code}001")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0109999999", "never issued"),
        ("0100112438", "wrong check digit"),
        ("0100000000", "never issued"),
        ("0100112437-000", "numbered 000"),
        ("01001124370", "not 10, 12 or 13"),
        ("０１００１１２４３７", "not 10, 12 or 13"),
        ("", "not 10, 12 or 13"),
        ("010011243a", "not 10, 12 or 13"),
    ],
)
def test_wrong_tax_codes_are_refused_without_repeating_them(text: str, found: str) -> None:
    with pytest.raises(Refused, match="tax-code-invalid") as caught:
        tax_code(text)
    assert found in caught.value.found
    assert caught.value.expected
    assert caught.value.remedy
    assert not text or text not in str(caught.value)


@given(st.text("0123456789", min_size=9, max_size=9).filter(lambda stem: stem[2:] != "0000000"))
def test_of_ten_last_digits_at_most_one_is_right(stem: str) -> None:
    """vietnam.md 2.2: check = 10 - (S mod 11); where that is 10 the number is never issued."""
    total = sum(weight * int(digit) for weight, digit in zip(WEIGHTS, stem, strict=True))
    right = []
    for digit in "0123456789":
        try:
            right.append(tax_code(stem + digit).digits[-1])
        except Refused:
            continue
    assert right == ([] if total % 11 == 0 else [str(10 - total % 11)])


@given(st.sampled_from(PUBLISHED), st.integers(0, 9), st.integers(1, 9))
def test_one_wrong_digit_is_always_found(code: str, place: int, shift: int) -> None:
    wrong = code[:place] + str((int(code[place]) + shift) % 10) + code[place + 1 :]
    with pytest.raises(Refused):
        tax_code(wrong)


@given(st.text(max_size=30))
def test_no_text_ever_breaks_the_readers_or_is_repeated(text: str) -> None:
    """Whatever is given, the answer is a value or one Refused that keeps the text to itself."""
    for read in (tax_code, lambda found: personal_number(found, this_year=2026)):
        said = ""
        try:
            read(text)
        except Refused as fault:
            said = str(fault)
        digits = re.sub(r"\D", "", text)
        assert len(digits) < 6 or digits not in said


def test_a_personal_number_says_century_year_and_gender() -> None:
    """vietnam.md 2.3: PPP, century and gender, two digits of the year."""
    old = personal_number("001199012345", this_year=2026)
    assert (old.birth_year, old.gender_code, old.warnings) == (1999, 1, ())
    young = personal_number("079207000001", this_year=2026)
    assert (young.birth_year, young.gender_code) == (2007, 0)
    assert "001199012345" not in repr(old)
    assert "1999" not in repr(old)


def test_an_unknown_province_is_a_warning_and_never_an_error() -> None:
    """vietnam.md 2.3: after the merger of 2025 and abroad, prefixes say nothing."""
    assert personal_number("999099012345", this_year=2026).warnings == ("province-unknown",)


@pytest.mark.parametrize("text", ["12345678901", "1234567890123", "00119901234a", "٠٠١١٩٩٠١٢٣٤٥", "079227000001"])
def test_wrong_personal_numbers_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(Refused, match="personal-number-invalid") as caught:
        personal_number(text, this_year=2026)
    assert text not in str(caught.value)


@given(st.integers(0, 400))
def test_the_toy_worlds_people_and_firms_are_structurally_valid(index: int) -> None:
    person = citizen(index)
    read = personal_number(person.number, this_year=2026)
    assert (read.birth_year, read.warnings) == (person.born.year, ())
    if index < 40:
        assert tax_code(firm(index).tax_code).kind is TaxCodeKind.ORGANISATION


def test_since_2025_a_persons_tax_code_is_the_personal_number() -> None:
    """Circular 86/2024/TT-BTC: twelve digits; so its repr keeps it."""
    code = tax_code("001199012345")
    assert code.kind is TaxCodeKind.INDIVIDUAL
    assert "001199012345" not in repr(code)


def test_subject_identifiers_by_prefix_in_any_dress() -> None:
    """vietnam.md 2.1, 2.4: UID prefixes without regard to case and spaces, ETSI semantics identifiers."""
    found = from_subject(
        ["mst: 0100112437-001", "CCCD:  001199012345 ", "CMND:012345678", "HC:B1234567"],
        ["PNOVN-001199012345", "PASVN-B1234567"],
        ["VATVN-0100112437", "NTRVN-0313994173"],
    )
    assert found.tax_codes == {"0100112437001", "0100112437", "0313994173"}
    assert found.personal_numbers == {"001199012345"}
    assert found.others == ("CMND:012345678", "HC:B1234567", "PASVN-B1234567")
    assert "001199012345" not in repr(found)
    assert from_subject(["no prefix"], [], []).others == ("no prefix",)
