"""Definitions behind others: found however they are written, and no other octets taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions import defined_again, overlap

FIRST = b"%PDF-1.7\n7 0 obj\n<<>>\nendobj\n"
VALUE = FIRST.index(b"\n<<>>")


@pytest.mark.parametrize(
    "head",
    [
        b"7 0 obj",
        b"\n7\t0\robj",
        b">>7 0 obj",
        b"0007 0 obj",
        b"7 00 obj",
        b"7 0obj",
        b"7" + b" " * 99 + b"0 obj",
        b"7\x000\x00obj",
        b"endobj7 0 obj",
        b"7 3 obj",
    ],
)
def test_a_later_definition_is_found_however_it_is_written(head):
    assert defined_again(FIRST + head + b"<<>>", {7: VALUE}) == 7


@pytest.mark.parametrize("text", [b"", b"17 0 obj", b"7 0 R", b"7 0 object".upper(), b"endobj", b"7 x obj", b"obj"])
def test_other_octets_are_none(text):
    assert defined_again(FIRST + text, {7: VALUE}) is None


@given(st.binary(max_size=40), st.integers(0, 10**9))
def test_any_octets_before_it_change_nothing(noise, number):
    text = FIRST + noise + b"\n%d 0 obj" % number
    assert defined_again(text, {number: VALUE}) == number


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)), max_size=8))
def test_runs_overlap_where_they_name_a_number_twice(runs):
    named = [first + n for first, count in runs for n in range(count)]
    assert overlap(runs) == (len(set(named)) != len(named))
