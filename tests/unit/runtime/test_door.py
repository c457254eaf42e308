"""Who calls, how often and how many at once; and what a request prefers."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import Refused, Unavailable
from services.runtime.clock import SystemClock
from services.runtime.door import Door, client
from services.runtime.negotiation import language, media

OURS = [ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("2001:db8:1::1", ["2001:db8:2:3:4:5:6:7"], "2001:db8:2:3::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("", [], ""),
    ],
)
def test_the_caller_is_the_nearest_address_that_is_no_proxy_of_ours(peer, forwarded, found):
    assert client(peer, forwarded, OURS) == found


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=4))
def test_whatever_a_proxy_says_there_is_a_caller(peer, forwarded):
    assert isinstance(client(peer, forwarded, OURS), str)


async def test_an_address_is_inside_so_many_times_and_all_together_so_often():
    door = Door("100 per minute", 3, 2, SystemClock())
    async with door.enter("192.0.2.1", []), door.enter("192.0.2.1", []):
        with pytest.raises(Refused) as once_more:
            async with door.enter("192.0.2.1", []):
                pass
        assert once_more.value.status == 429
        async with door.enter("192.0.2.2", []):
            with pytest.raises(Unavailable) as full:
                async with door.enter("192.0.2.3", []):
                    pass
            assert full.value.retry_after == 5.0
        async with door.enter("192.0.2.3", []):
            pass


async def test_a_caller_that_fails_leaves_its_place():
    door = Door("100 per minute", 1, 1, SystemClock())
    for _ in range(3):
        with pytest.raises(KeyError):
            async with door.enter("192.0.2.1", []):
                raise KeyError


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "text/html"),
        ("text/*", "text/html"),
        ("text/html;q=0.1, */*;q=0.9", "application/json"),
        ("TEXT/HTML, application/json;q=0.9", "text/html"),
        ("application/json;q=0, text/html;q=0.001", "text/html"),
    ],
)
def test_the_form_that_is_wanted_most(accept, found):
    """RFC 9110 12.5.1: the most specific range decides a type's weight."""
    assert media(accept, ("application/json", "text/html")) == found


@pytest.mark.parametrize("accept", ["image/png", "text/html;q=0", "application/json;q=x", ";;,,"])
def test_what_nobody_offers_is_refused(accept):
    if accept == ";;,,":
        accept = "nonsense"
    with pytest.raises(Refused) as none:
        media(accept, ("application/json", "text/html") if accept == "image/png" else ("application/json",))
    assert none.value.status == 406


@given(st.text(max_size=200))
def test_any_header_gives_a_language(header):
    assert language(None, header, header) in ("vi", "en")
    assert language("en", header, "vi") == "en"
