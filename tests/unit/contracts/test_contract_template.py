"""The template: same input, same bytes; what people type is printed, never obeyed; areas are where they should be."""

from __future__ import annotations

import itertools
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pypdfium2
import pytest
from pydantic import ValidationError

from events.errors import Refused
from events.values import BaselineLevel, Slot
from services.contracts.adapters import pdf_reading
from services.contracts.adapters.typst_maker import render
from services.contracts.aggregate import SigningTerms
from services.contracts.fields import SLOTS, PowerPurchaseNovation, TemplateName
from services.contracts.ports import Limits, Made
from tests.support import novation

NOW = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
NOVATION = TemplateName.POWER_PURCHASE_NOVATION
ORDER = [[Slot("outgoing-buyer"), Slot("incoming-buyer")], [Slot("supplier")]]


def made(*, terms: SigningTerms | None = None, now: datetime = NOW, **changed: Any) -> Made:
    fields = PowerPurchaseNovation.model_validate(novation.fields(**changed))
    return render(NOVATION, fields, terms or SigningTerms(), ORDER, now)


def text_of(pdf: bytes) -> str:
    with pypdfium2.PdfDocument(pdf) as document:
        pages = [page.get_textpage().get_text_bounded() for page in document]
    return unicodedata.normalize("NFC", " ".join(" ".join(pages).split()))


def test_the_same_input_gives_the_same_bytes_and_another_moment_others():
    assert made().pdf == made().pdf
    assert made().pdf != made(now=NOW + timedelta(seconds=1)).pdf
    assert made().pdf == made(now=NOW + timedelta(microseconds=123456)).pdf, "a real clock has parts of a second"


def test_every_field_is_printed_in_vietnamese_and_can_be_read_back():
    text = text_of(made().pdf)
    for part in (
        "Công ty Cổ phần Dệt may Hoàng Liên",
        "Đỗ Quỳnh Ngọc Thắng",
        "PD0100/2021/HĐMBĐ",
        "128.456,5",
        "18.450.000",
        "30.000.000",
        "01/12/2026",
        "1 December 2026",
        "PAdES ở mức B-LTA",
        "Bên A và Bên B; rồi Bên C",
        "Điều 8",
    ):
        assert part in text, part


def test_the_agreed_terms_say_the_level_that_will_be_signed():
    """Law 20/2023/QH15 Art 36: the parties agree on the technical requirements."""
    assert "B-T" in text_of(made(terms=SigningTerms(level=BaselineLevel.T)).pdf)


@pytest.mark.parametrize(
    "evil",
    [
        '#panic("x")',
        '#read("/etc/passwd")',
        "] #pagebreak() [",
        "*bold* _it_ $x^2$ `raw` @ref <label> // no",
        "\\u{41}",
        '"}, {"a": "',
    ],
)
def test_what_people_type_is_printed_and_never_obeyed(evil):
    party = {**novation.fields()["incoming"], "name": evil}
    result = made(incoming=party)
    assert re.sub(r"\s", "", evil) in re.sub(r"\s", "", text_of(result.pdf))
    with pypdfium2.PdfDocument(result.pdf) as document, pypdfium2.PdfDocument(made().pdf) as plain:
        assert len(document) == len(plain)


def test_the_areas_are_one_for_each_slot_inside_the_page_and_apart():
    result = made()
    assert set(result.placements) == set(SLOTS[NOVATION])
    with pypdfium2.PdfDocument(result.pdf) as document:
        for place in result.placements.values():
            width, height = document[place.page - 1].get_size()
            assert 0 <= place.x < place.x + place.width <= width
            assert 0 <= place.y < place.y + place.height <= height
    row = sorted(result.placements.values(), key=lambda place: place.x)
    assert all(left.x + left.width <= right.x for left, right in itertools.pairwise(row))


def test_the_areas_are_empty_and_their_frames_are_where_the_placements_say():
    """Nothing is printed where a signature will stand."""
    result = made()
    with pypdfium2.PdfDocument(result.pdf) as document:
        for place in result.placements.values():
            page = document[place.page - 1].get_textpage()
            box = (place.x, place.y, place.x + place.width, place.y + place.height)
            assert page.get_text_bounded(*box).strip() == ""
            below = page.get_text_bounded(place.x, place.y - 22, place.x + place.width, place.y)
            assert below.strip(), "the name stands right below the frame"


def test_long_names_and_addresses_keep_the_areas_together_on_a_page_with_text():
    long = {**novation.fields()["supplier"], "name": "Tổng công ty " * 15, "address": "Số 1 đường rất dài, " * 9}
    result = made(outgoing=long, supplier=long)
    pages = {place.page for place in result.placements.values()}
    assert len(pages) == 1
    with pypdfium2.PdfDocument(result.pdf) as document:
        assert "Điều 8" in unicodedata.normalize("NFC", document[pages.pop() - 1].get_textpage().get_text_bounded())


def test_a_letter_that_no_embedded_font_has_is_refused_and_not_printed_as_a_box():
    with pytest.raises(Refused, match="letter-not-printable"):
        made(incoming={**novation.fields()["incoming"], "name": "山田太郎"})


def test_it_says_it_is_pdf_a_3b_and_may_become_a_contract():
    pdf = made().pdf
    assert b"<pdfaid:part>3</pdfaid:part>" in pdf
    assert b"<pdfaid:conformance>B</pdfaid:conformance>" in pdf
    assert len(pdf_reading.read(pdf, Limits()).pages) == 3


@pytest.mark.parametrize(
    ("member", "value", "told"),
    [
        ("number", "x" * 61, "number"),
        ("number", "a\x00b", "number"),
        ("number", "", "number"),
        ("surprise", 1, "surprise"),
        ("effective_on", "2026-11-23", "take effect"),
        ("debts", {"cleared": False, "last_amount": 1, "paid_on": "2026-11-23"}, "cleared"),
        ("debts", {"cleared": True, "last_amount": -1, "paid_on": "2026-11-23"}, "last_amount"),
        ("meter", {"number": "1", "reading": "-5", "read_on": "2026-11-23"}, "reading"),
        ("meter", {"number": "1", "reading": "5", "read_on": "2027-11-23"}, "read on the effective day"),
    ],
)
def test_fields_out_of_bounds_are_named(member, value, told):
    with pytest.raises(ValidationError, match=told):
        PowerPurchaseNovation.model_validate(novation.fields(**{member: value}))


@pytest.mark.parametrize(
    ("party", "number", "told"),
    [
        ("outgoing", "0104359718", "wrong check digit"),
        ("outgoing", "0100000008", "never issued"),
        ("outgoing", "123", "10, 12 or 13 digits"),
        ("incoming", "00109912345", "12 digits"),
        ("incoming", "0010991234567", "12 digits"),
    ],
)
def test_wrong_tax_codes_and_personal_numbers_are_refused_without_repeating_them(party, number, told):
    with pytest.raises(ValidationError, match=told) as refused:
        PowerPurchaseNovation.model_validate(novation.fields(**{party: {**novation.fields()[party], "number": number}}))
    messages = " ".join(error["msg"] for error in refused.value.errors())
    assert number not in messages


def test_text_that_hides_or_turns_letters_is_refused():
    for hidden in ("a\u202eb", "a\u200bb", "a\u2066b"):
        with pytest.raises(ValidationError, match="control or direction"):
            PowerPurchaseNovation.model_validate(
                novation.fields(incoming={**novation.fields()["incoming"], "name": hidden})
            )
