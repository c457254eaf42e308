"""The object syntax of PDF, its text and its filters: what is written is read, and nothing is read without a bound."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.verifier.pdf import syntax
from services.verifier.pdf.equality import same_scalar
from services.verifier.pdf.filters import Budget, decode
from services.verifier.pdf.syntax import Misformed, Name, Ref, parse
from services.verifier.pdf.text import date, text


def written(value: object) -> bytes:
    """A value in PDF syntax, one of many ways to write it."""
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, Ref):
        return b"%d %d R" % value
    if isinstance(value, Name):
        return b"/" + "".join(f"#{ord(one):02X}" if not one.isalnum() else one for one in value).encode("latin-1")
    if isinstance(value, int | float):
        return repr(value).encode() if isinstance(value, int) else f"{value:.6f}".encode()
    if isinstance(value, bytes):
        if len(value) % 2:
            return b"<" + value.hex().encode() + b">"
        special = {0x28: b"\\(", 0x29: b"\\)", 0x5C: b"\\\\", 0x0D: b"\\r"}
        return b"(" + b"".join(special.get(octet, bytes((octet,))) for octet in value) + b")"
    if isinstance(value, list):
        return b"[" + b" ".join(written(one) for one in value) + b"]"
    assert isinstance(value, dict)
    return b"<<" + b" ".join(written(Name(key)) + b" " + written(each) for key, each in value.items()) + b">>"


names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12).map(Name)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.integers(-(10**6), 10**6).map(lambda number: number / 64)
    | names
    | st.binary(max_size=40)
    | st.builds(Ref, st.integers(0, 10**8), st.integers(0, 65535))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names.map(str), inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read(value):
    data = b" %comment\r\n" + written(value) + b" "
    assert parse(data, 0)[0] == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_misformed(data):
    try:
        _, end = parse(data, 0)
    except Misformed:
        return
    assert 0 < end <= len(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"(a(b)c)", b"a(b)c"),
        (b"(\\101\\7\\0053)", b"A\x07\x053"),
        (b"(a\\\r\nb\r\nc\rd)", b"ab\nc\nd"),
        (b"(\\x\\n\\\\)", b"x\n\\"),
        (b"<4 1\n4>", b"A@"),
        (b"/A#20B#", "A B#"),
        (b"/", ""),
        (b"[1 2 Rx 3 0 R]", [1, 2, None, Ref(3, 0)]),
        (b"[1 0 R/N(x)<41>true]", [Ref(1, 0), "N", b"x", b"A", True]),
        (b"[+1 -.5 5. 1 00 R]", [1, -0.5, 5.0, Ref(1, 0)]),
        (b"<</A 1/B<</C[]>>>>", {"A": 1, "B": {"C": []}}),
        (b"<</A>>", {"A": None}),
        (b"[1.2.3 --5 what]", [None, None, None]),
    ],
)
def test_odd_spellings(data, value):
    """ISO 32000-2 clause 7.3; what fits no type is null, as readers take it."""
    assert parse(data, 0)[0] == value


@pytest.mark.parametrize("data", [b"", b"  ", b"<<", b"[1", b"(abc", b"<41", b"]", b"[>>", b"<</A]", b"endobj", b"{"])
def test_what_is_no_value(data):
    with pytest.raises(Misformed):
        parse(data, 0)


def test_nesting_is_bounded():
    """Arrays nested 900 deep overflow the stack of many a reader."""
    parse(b"[" * 90 + b"]" * 90, 0)
    with pytest.raises(Misformed):
        parse(b"[" * 900 + b"]" * 900, 0)


def test_a_key_with_two_values_is_never_equal_to_one():
    """Readers do not agree on which of the two holds, so neither stands for the other."""
    value, _ = parse(b"<</A 1/A 2>>", 0)
    assert value[syntax.TWICE]
    assert parse(b"<</A 1/A 1>>", 0)[0] == {"A": 1}
    assert syntax.TWICE not in {str(parse(b"/#00", 0)[0])}


def test_scalars_are_told_apart_by_type():
    assert same_scalar(1, 1.0)
    assert not same_scalar(1, True)
    assert not same_scalar(Name("A"), b"A")
    assert not same_scalar(0, None)
    assert not same_scalar(False, None)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"plain", "plain"),
        (b"\xfe\xff\x1e\xc7", "ệ"),
        (b"\xff\xfe\xc7\x1e", "ệ"),
        (b"\xef\xbb\xbf\xe1\xbb\x87", "ệ"),
        (b"\x80\xe9\xa0\x9f", "•é€\x9f"),
        (b"\xfe\xff\x1e", "�"),
    ],
)
def test_text_strings(data, value):
    assert text(data) == value


@pytest.mark.parametrize(
    ("data", "moment"),
    [
        (b"D:20261125101530+07'00'", datetime(2026, 11, 25, 10, 15, 30, tzinfo=timezone(timedelta(hours=7)))),
        (
            b"D:20261125101530-0730",
            datetime(2026, 11, 25, 10, 15, 30, tzinfo=timezone(-timedelta(hours=7, minutes=30))),
        ),
        (b"20261125", datetime(2026, 11, 25, tzinfo=UTC)),
        (b"D:20261125101530Z00'00'", datetime(2026, 11, 25, 10, 15, 30, tzinfo=UTC)),
        (b"D:20261325", None),
        (b"D:20261125101530+99'00'", None),
        (b"yesterday", None),
        (b"", None),
    ],
)
def test_dates(data, moment):
    assert date(data) == moment


# --- filters: ISO 32000-2 clause 7.4 ---------------------------------------------------------------------------------


def budget(octets: int = 100_000) -> Budget:
    return Budget(octets, octets)


def lzw(data: bytes) -> bytes:
    """LZW as the standard's encoder makes it, with early change and codes of growing width."""
    table = {bytes((octet,)): octet for octet in range(256)}
    bits, width, following, held = "", 9, 258, b""

    def put(code: int) -> None:
        nonlocal bits
        bits += f"{code:0{width}b}"

    put(256)
    for octet in data:
        longer = held + bytes((octet,))
        if longer in table:
            held = longer
            continue
        put(table[held])
        table[longer] = following
        following += 1
        if following + 1 > 2**width and width < 12:
            width += 1
        if following == 4094:
            put(256)
            table = {bytes((one,)): one for one in range(256)}
            width, following = 9, 258
        held = bytes((octet,))
    if held:
        put(table[held])
        following += 1
        if following + 1 > 2**width and width < 12:
            width += 1
    put(257)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@given(st.binary(max_size=600))
def test_every_filter_gives_back_what_went_in(data):
    runs = b"".join(bytes((0, octet)) for octet in data) + b"\x80"
    for name, raw in {
        "FlateDecode": zlib.compress(data),
        "ASCIIHexDecode": data.hex().encode() + b">",
        "ASCII85Decode": base64.a85encode(data, wrapcol=60) + b"~>",
        "RunLengthDecode": runs,
        "LZWDecode": lzw(data),
    }.items():
        assert decode(raw, [Name(name)], [], budget()) == (data, []), name
    chained = base64.a85encode(zlib.compress(data)) + b"~>"
    assert decode(chained, [Name("A85"), Name("Fl")], [None, None], budget()) == (data, [])


def test_long_lzw_changes_its_width():
    data = bytes(range(256)) * 40
    assert decode(lzw(data), [Name("LZWDecode")], [], budget()) == (data, [])


@given(st.binary(min_size=12, max_size=240), st.integers(0, 4), st.sampled_from([1, 3]))
def test_png_predictors(data, kind, colours):
    """ISO 32000-2 clause 7.4.4.4, with the filters of PNG (ISO/IEC 15948)."""
    width = 4 * colours
    data = data[: len(data) - len(data) % width]
    rows, above = b"", bytes(width)
    for at in range(0, len(data), width):
        row = data[at : at + width]
        out = []
        for i, octet in enumerate(row):
            left = row[i - colours] if i >= colours else 0
            corner = above[i - colours] if i >= colours else 0
            up = above[i]
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda one: abs(guess - one))
            out.append((octet - (0, left, up, (left + up) // 2, paeth)[kind]) & 0xFF)
        rows += bytes((kind, *out))
        above = row
    given_ = {"Predictor": 15, "Colors": colours, "Columns": 4}
    assert decode(zlib.compress(rows), [Name("FlateDecode")], [given_], budget()) == (data, [])


def test_tiff_predictor():
    given_ = {"Predictor": 2, "Columns": 4}
    assert decode(zlib.compress(bytes([1, 1, 1, 1])), [Name("FlateDecode")], [given_], budget())[0] == bytes(
        [1, 2, 3, 4]
    )


def test_what_an_image_filter_covers_is_left():
    assert decode(b"\xff\xd8", [Name("DCTDecode")], [], budget()) == (b"\xff\xd8", ["DCTDecode"])


def test_damaged_flate_gives_what_came_before_the_damage():
    raw = zlib.compress(bytes(range(256)) * 200)
    assert decode(raw[:-6], [Name("FlateDecode")], [], budget())[0].startswith(bytes(range(256)) * 100)


@pytest.mark.parametrize(
    ("raw", "filters", "parameters"),
    [
        (zlib.compress(bytes(200_000)), ["FlateDecode"], []),
        (zlib.compress(zlib.compress(bytes(90_000_000))), ["FlateDecode", "FlateDecode"], []),
        (lzw(bytes(200_000)), ["LZWDecode"], []),
        (b"\x81\x00" * 2000, ["RunLengthDecode"], []),
        (b"\xff\xff\xff", ["FlateDecode"], []),
        (b"xyz>", ["ASCIIHexDecode"], []),
        (b"\x7f~>", ["ASCII85Decode"], []),
        (b"abc", ["ASCIIHexDecode"] * 9, []),
        (zlib.compress(b"abcd"), ["FlateDecode"], [{"Predictor": 12, "Columns": 10**9}]),
        (zlib.compress(b"abcd"), ["FlateDecode"], [{"Predictor": b"x"}]),
        (zlib.compress(b"\x09abcd"), ["FlateDecode"], [{"Predictor": 12, "Columns": 4}]),
    ],
)
def test_bombs_and_garbage_are_refused(raw, filters, parameters):
    with pytest.raises(Misformed):
        decode(raw, [Name(one) for one in filters], parameters, budget())


@given(st.binary(max_size=200), st.lists(st.sampled_from(["Fl", "LZW", "AHx", "A85", "RL"]), max_size=3))
def test_any_bytes_behind_any_filter_end(data, filters):
    try:
        decoded, _ = decode(data, [Name(one) for one in filters], [{"Predictor": 12, "Columns": 3}] * 3, budget())
    except Misformed:
        return
    assert len(decoded) <= 100_000
