"""Names as certificates and identities spell them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.names import Match, compare, fits
from events.errors import Refused

VIETNAMESE = "aàáảãạăằắẳẵặâầấẩẫậeèéẻẽẹêềếểễệiìíỉĩịoòóỏõọôồốổỗộơờớởỡợuùúủũụưừứửữựyỳýỷỹỵđbcghklmnpqrstvx "
names = st.text(VIETNAMESE + VIETNAMESE.upper(), min_size=1, max_size=40)


@given(names)
def test_form_case_and_spaces_do_not_matter(name: str) -> None:
    """vietnam.md 2.5: NFC, case fold, white space."""
    assert compare(unicodedata.normalize("NFD", name), f"  {name.upper()}  ") is Match.EXACT
    assert compare(name.replace(" ", "   "), name) is Match.EXACT


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [
        ("Nguyễn Thử Ánh", "NGUYEN THU ANH", Match.EQUIVALENT),
        ("Đặng Đức Độ", "dang duc do", Match.EQUIVALENT),
        ("Nguyễn Thử Ánh", "Nguyễn Thứ Ánh", Match.EQUIVALENT),
        ("Nguyễn Thử Ánh", "Nguyễn Thử Anh Em", Match.MISMATCH),
        ("Nguyễn Thử Ánh", "Ánh Nguyễn Thử", Match.MISMATCH),
        ("Nguyễn Thử Ánh", "Nguyễn Тhử Ánh", Match.MISMATCH),
        ("Công ty A", "Công ty B", Match.MISMATCH),
    ],
)
def test_without_tone_marks_is_weaker_and_says_so(one: str, other: str, match: Match) -> None:
    assert compare(one, other) is match
    assert compare(other, one) is match


@given(names, names)
def test_comparison_has_no_direction(one: str, other: str) -> None:
    assert compare(one, other) is compare(other, one)


def test_names_are_never_cut() -> None:
    """RFC 5280 appendix A: at most 64 characters, counted and not octets."""
    fits("Ễ" * 64, "a name")
    for wrong in ("", "Ễ" * 65):
        with pytest.raises(Refused, match="name-too-long") as caught:
            fits(wrong, "a name")
        assert "Ễ" not in str(caught.value)
