"""The reader of DER and BER: what was written is read, spans are exact, any bytes end in an element or Malformed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.verifier.validation import der
from services.verifier.validation.der import Malformed, canonical, dotted, encoded, oid, parse, whole

_leaves = st.tuples(st.sampled_from([0x02, 0x04, 0x0C, 0x80, 0x87]), st.binary(max_size=300))
_trees = st.recursive(
    _leaves,
    lambda inner: st.tuples(st.sampled_from([0x30, 0x31, 0xA0, 0xA3]), st.lists(inner, max_size=5)),
    max_leaves=20,
)


def written(tree, indefinite: bool = False) -> bytes:
    tag, inside = tree
    if isinstance(inside, bytes):
        return encoded(tag, inside)
    contents = b"".join(written(each, indefinite) for each in inside)
    return bytes((tag, 0x80)) + contents + b"\0\0" if indefinite else encoded(tag, contents)


def seen(node) -> tuple:
    return node.tag, [seen(kid) for kid in node.kids()] if node.constructed else node.contents


def plain(tree) -> tuple:
    tag, inside = tree
    return tag, inside if isinstance(inside, bytes) else [plain(each) for each in inside]


@given(tree=_trees, indefinite=st.booleans(), after=st.binary(max_size=5))
def test_what_was_written_is_read_with_exact_spans(tree, indefinite, after):
    data = written(tree, indefinite)
    node = parse(data + after)
    assert node.raw == data
    assert seen(node) == plain(tree)
    if node.constructed:
        assert [kid.raw for kid in node.each()] == [kid.raw for kid in node.kids()]


@given(tree=_trees)
def test_indefinite_lengths_mean_the_same_in_der(tree):
    """X.690 clause 10.1: DER is definite."""
    assert canonical(parse(written(tree, True))) == canonical(parse(written(tree)))


def _walk(node) -> None:
    for read in (node.integer, node.boolean, node.oid, node.octets, node.bits, node.time, node.implicit_octets):
        try:
            read()
        except Malformed:
            continue
    if node.constructed:
        for kid in node.kids():
            _walk(kid)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_an_element_or_malformed(data):
    try:
        _walk(parse(data))
    except Malformed:
        return


@given(tree=_trees, data=st.data())
def test_damaged_elements_are_elements_or_malformed(tree, data):
    damaged = bytearray(written(tree, data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        _walk(parse(bytes(damaged)))
    except Malformed:
        return


@given(value=st.integers(-(2**80), 2**80))
def test_integers_keep_their_sign(value):
    octets = value.to_bytes((value.bit_length() // 8) + 1, "big", signed=True)
    assert parse(encoded(2, octets)).integer() == value


@given(first=st.integers(0, 2), second=st.integers(0, 39), rest=st.lists(st.integers(0, 2**40), max_size=6))
def test_object_identifiers_round_trip(first, second, rest):
    text = ".".join(map(str, (first, second, *rest)))
    assert dotted(oid(text)) == text


@given(moment=st.datetimes(datetime(1950, 1, 1), datetime(2049, 12, 31)).map(lambda one: one.replace(microsecond=0)))  # noqa: DTZ001
def test_times_round_trip(moment):
    moment = moment.replace(tzinfo=UTC)
    assert parse(encoded(der.UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())).time() == moment
    general = f"{moment.year:04}" + moment.strftime("%m%d%H%M%S") + "Z"
    assert parse(encoded(der.GENERALIZED_TIME, general.encode())).time() == moment


@pytest.mark.parametrize(
    ("tag", "text", "moment"),
    [
        (der.UTC_TIME, b"2611240500Z", datetime(2026, 11, 24, 5, 0, tzinfo=UTC)),
        (der.UTC_TIME, b"261124120000+0700", datetime(2026, 11, 24, 5, 0, tzinfo=UTC)),
        (der.GENERALIZED_TIME, b"20261124050000.5Z", datetime(2026, 11, 24, 5, 0, 0, 500000, tzinfo=UTC)),
        (der.GENERALIZED_TIME, b"20261124050000", datetime(2026, 11, 24, 5, 0, tzinfo=UTC)),
        (der.GENERALIZED_TIME, b"99991231235959Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_odd_times_of_real_certificates_are_read(tag, text, moment):
    """RFC 5280 clause 4.1.2.5 asks for seconds and Z; old certificates have neither."""
    assert parse(encoded(tag, text)).time() == moment


@pytest.mark.parametrize(
    "text", [b"", b"Z", b"991332000000Z", b"2611240500xxZ", b"261124050000-", b"\xff" * 13, b"0" * 13]
)
def test_what_is_no_time_is_malformed(text):
    with pytest.raises(Malformed):
        parse(encoded(der.UTC_TIME, text)).time()


def test_octet_strings_in_segments_are_one_string():
    """X.690 clause 8.7.3."""
    data = b"\x24\x80" + encoded(4, b"ab") + b"\x24\x80" + encoded(4, b"cd") + b"\0\0" + b"\0\0"
    assert parse(data).octets() == b"abcd"
    assert canonical(parse(data)) == encoded(4, b"abcd")


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x80" * 1000,
        b"\x24\x80" * 39 + b"\x24\x80" + b"\0\0" * 10,
        b"\x30\x88" + b"\xff" * 8,
        b"\x3f" + b"\xff" * 20,
        b"\x30\x89" + b"\x01" * 9,
        b"\x04\x80ab\0\0",
        b"\x30",
        b"",
    ],
    ids=["deep", "deep-string", "huge", "endless-tag", "long-length", "indefinite-primitive", "no-length", "nothing"],
)
def test_bombs_and_stumps_end_at_once(data):
    with pytest.raises(Malformed):
        parse(data).octets()


def test_deep_definite_nesting_is_read_only_as_deep_as_asked():
    data = b""
    for _ in range(900):
        data = encoded(0x30, data)
    node = parse(data)
    with pytest.raises(Malformed):
        canonical(node)


def test_a_set_is_sorted_in_der():
    """X.690 clause 11.6: signed attributes are signed in this order, however they were sent (RFC 5652 clause 5.4)."""
    data = encoded(0x31, encoded(4, b"b") + encoded(4, b"a"))
    assert canonical(parse(data)) == encoded(0x31, encoded(4, b"a") + encoded(4, b"b"))


def test_trailing_octets_are_seen():
    assert parse(b"\x05\x00\x00").stop == 2
    with pytest.raises(Malformed):
        whole(b"\x05\x00\x00")


def test_too_long_values_and_too_many_elements_are_refused(monkeypatch):
    monkeypatch.setattr(der, "MOST_OCTETS", 10)
    with pytest.raises(Malformed):
        parse(bytes(11))
    monkeypatch.setattr(der, "MOST_CHILDREN", 2)
    with pytest.raises(Malformed):
        parse(b"\x30\x08" + b"\x05\x00" * 4).kids()
