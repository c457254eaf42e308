"""JSON of others: whatever cannot be read is one error, however deep it is nested."""

from __future__ import annotations

import pytest

from services.runtime.json_reading import object_of, value_of


def test_what_can_be_read():
    assert value_of(b"[1]") == [1]
    assert object_of('{"tên": null}'.encode()) == {"tên": None}


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_cannot(raw):
    for read in (value_of, object_of):
        with pytest.raises(ValueError, match="not JSON"):
            read(raw)


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"a"', b"null"])
def test_what_is_no_object(raw):
    with pytest.raises(ValueError, match="no JSON object"):
        object_of(raw)
