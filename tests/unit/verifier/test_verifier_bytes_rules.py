"""The gap rule, the tail rule and the raw look, on bytes written by hand (ISO 32000-2 12.8.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.verifier.bytes_rules import (
    dictionary_fault,
    four_integers,
    gap_fault,
    hex_string,
    mentions_signatures,
    raw_signatures,
    tail_fault,
)

BEFORE, VALUE, AFTER = b"1 0 obj <</Contents ", b"\x30\x01\x02\x00", b">> endobj\n%%EOF"
GAP = b"<" + VALUE.hex().encode() + b">"
DATA = BEFORE + GAP + AFTER
RANGE = (0, len(BEFORE), len(BEFORE) + len(GAP), len(AFTER))


def reason(fault):
    return fault.reason if fault else None


def test_a_signature_as_it_should_be():
    assert gap_fault(DATA, RANGE, VALUE) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (None, "byte-range-form"),
        ((0, 1, 2), "byte-range-form"),
        ((0, 1, 2, 3, 4), "byte-range-form"),
        ((0, 1.5, 2, 3), "byte-range-form"),
        ((0, True, 2, 3), "byte-range-form"),
        ((1, RANGE[1], RANGE[2], RANGE[3]), "byte-range-start"),
        ((0, 0, RANGE[2], RANGE[3]), "byte-range-order"),
        ((0, RANGE[2], RANGE[1], RANGE[3]), "byte-range-order"),
        ((0, RANGE[1], RANGE[2], -1), "byte-range-order"),
        ((0, RANGE[1], RANGE[2], 0), "byte-range-order"),
        ((0, RANGE[1], RANGE[2], RANGE[3] + 1), "byte-range-outside"),
        ((0, RANGE[1] - 1, RANGE[2], RANGE[3]), "gap-not-one-hex-string"),
        ((0, RANGE[1], RANGE[2] + 1, RANGE[3] - 1), "gap-not-one-hex-string"),
        ((0, RANGE[1] + 1, RANGE[2], RANGE[3]), "gap-not-one-hex-string"),
    ],
)
def test_a_range_that_is_not_right_is_refused(values, expected):
    assert reason(gap_fault(DATA, values, VALUE)) == expected


def test_the_gap_must_hold_the_value_that_is_judged():
    assert reason(gap_fault(DATA, RANGE, b"\x30\x01\x02")) == "gap-is-not-contents"
    assert reason(gap_fault(DATA, RANGE, None)) == "gap-is-not-contents"


@pytest.mark.parametrize(
    "gap", [b"(30010200)", b"<3001><0200>", b"<3001>/X <02>", b"<30z1>", b"<", b"<30", b"30>", b"<30 % x\n>", b""]
)
def test_only_one_hex_string_fits_into_the_gap(gap):
    assert hex_string(gap) is None


def test_white_space_and_an_odd_digit_are_legal_in_a_hex_string():
    """ISO 32000-2 7.3.4.3."""
    assert hex_string(b"<30 01\r\n02>") == b"\x30\x01\x02"
    assert hex_string(b"<30 1>") == b"\x30\x10"


@given(st.binary(max_size=60))
def test_every_value_is_found_again(value):
    assert hex_string(b"<" + value.hex().encode() + b">") == value


@given(st.binary(max_size=200), st.lists(st.integers(-5, 300), max_size=6))
def test_no_bytes_and_no_numbers_raise(data, values):
    gap_fault(data, values, data[:4])
    tail_fault(data, max(0, values[0]) if values else 0, values)
    raw_signatures(data)
    mentions_signatures(data)


REVISION = b"2 0 obj <<>> endobj xref trailer startxref\n777\n%%EOF\n"


@pytest.mark.parametrize(
    ("tail", "listed", "expected"),
    [
        (b"", [], None),
        (b" \r\n\x00", [], None),
        (REVISION, [777], None),
        (REVISION + REVISION.replace(b"777", b"778"), [777, 778], None),
        (REVISION * 2, [777], "tail-unlisted-revision"),
        (REVISION, [], "tail-unlisted-revision"),
        (REVISION, [776], "tail-unlisted-revision"),
        (b"2 0 obj <<>> endobj", [777], "tail-without-revision"),
        (b"%%EOF", [777], "tail-without-revision"),
        (b"2 0 obj <<>> endobj\n%%EOF\n" + REVISION, [777], "tail-unlisted-revision"),
        (b"%%EOF\n" + REVISION, [777], None),
        (REVISION + b"2 0 obj <<>> endobj", [777], "tail-after-last-revision"),
        (REVISION + b"\n \n", [777], None),
        (b"\n" * 1_000, [], None),
        (b"\n" * 1_100, [], "tail-far-end"),
        (REVISION.replace(b"777\n", b"777" + b" " * 1_100), [777], "tail-far-end"),
    ],
)
def test_what_follows_the_signed_bytes_must_be_listed(tail, listed, expected):
    signed = DATA + b"startxref\n9\n%%EOF"
    assert reason(tail_fault(signed + tail, len(signed), listed)) == expected


def test_the_dictionary_holds_the_gap():
    assert dictionary_fault(DATA, 0, RANGE) is None
    assert reason(dictionary_fault(DATA, None, RANGE)) == "dictionary-elsewhere"
    assert reason(dictionary_fault(DATA, RANGE[2], RANGE)) == "dictionary-elsewhere"
    two = b"1 0 obj <<>> endobj 2 0 obj " + DATA
    shifted = (0, RANGE[1] + 28, RANGE[2] + 28, RANGE[3])
    assert reason(dictionary_fault(two, 0, shifted)) == "dictionary-elsewhere"


def test_the_raw_look_finds_what_nothing_refers_to():
    text = b"%%PDF <</ByteRange [0 %d %d %d]/Contents "
    head = text % (100, 110, 5)
    head = head.ljust(100)
    data = head + GAP + b"tail!"
    (found,) = raw_signatures(data)
    assert (found.byte_range, found.contents, found.end) == ((0, 100, 110, 5), VALUE, 115)
    assert raw_signatures(data.replace(b"[0 ", b"[1 ")) == []


def test_four_integers_are_four_integers():
    assert four_integers([0, 1, 2, 3]) == (0, 1, 2, 3)
    assert four_integers([0, "1", 2, 3]) is None


def test_a_tail_that_names_a_section_of_the_signed_part_is_a_change():
    """Loose objects behind a `startxref` that leads back: strict readers pass them over, repairing viewers do not."""
    part = DATA + b" " * 3000
    tail = b"9 0 obj <<>> endobj\nstartxref\n50\n%%EOF"
    assert reason(tail_fault(part + tail, len(part), [50])) == "tail-unlisted-revision"
    own = len(part) + 20
    tail = b"9 0 obj <<>> endobj\nxref\nstartxref\n%d\n%%%%EOF" % own
    assert tail_fault(part + tail, len(part), [50, own]) is None
    assert reason(tail_fault(part + tail + b" " * 2000 + tail, len(part), [50, own])) == "tail-unlisted-revision"
