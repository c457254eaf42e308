"""Values that are made of octets are of their form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.values import Digest


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_of_raw_octets_is_the_one_that_is_read(raw):
    found = Digest.from_raw(raw)
    assert type(found) is Digest
    assert found == Digest("sha256:" + raw.hex())
    assert found.raw == raw


@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_octets_of_another_length_are_no_digest(size):
    """FIPS 180-4 clause 1: SHA-256 gives 256 bits."""
    with pytest.raises(ValueError, match=f"found {size} octets"):
        Digest.from_raw(bytes(size))
