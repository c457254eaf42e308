"""Who guesses at secrets is turned away after a bound, and cannot keep out whose secret it is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import Refused
from services.signer.csc import guesses
from services.signer.csc.guesses import OF_ADDRESS, OF_CLIENT, PROVEN, WINDOW, Guesses, Window
from tests.support.clocks import StillClock

HOME, STRANGER = "192.0.2.1", "198.51.100.7"


def guess(of: Guesses, client: str, address: str) -> bool:
    """One wrong try; whether it was looked at."""
    tries = of.at_secret(client, address)
    try:
        tries.admit()
    except Refused:
        return False
    tries.wrong()
    return True


def test_an_address_guesses_so_often_in_the_window_and_waits_as_long_as_it_is_told():
    """RFC 6749 clause 2.3.1: the endpoint MUST be protected against brute force attacks."""
    clock = StillClock()
    of = Guesses(clock)
    for _ in range(OF_ADDRESS):
        assert guess(of, "portal", STRANGER)
        clock.pass_by(1)
    with pytest.raises(Refused) as told:
        of.at_secret("another", STRANGER).admit()  # the address, whomever it guesses at
    assert told.value.status == 429
    assert told.value.retry_after == WINDOW.total_seconds() - OF_ADDRESS
    of.at_secret("portal", HOME).admit()
    clock.pass_by(told.value.retry_after - 0.5)
    assert not guess(of, "portal", STRANGER)
    clock.pass_by(0.5)
    assert guess(of, "portal", STRANGER)
    assert not guess(of, "portal", STRANGER)


def test_many_addresses_together_guess_so_often_at_one_client_and_whether_it_exists_makes_no_difference():
    of = Guesses(StillClock())
    for name in ("portal", "nobody", "x" * 60_000, "\udcff"):
        looked_at = sum(guess(of, name, f"{name[:9]}{number // 3}") for number in range(2 * OF_CLIENT))
        assert looked_at == OF_CLIENT
    assert guess(of, "another", HOME)


def test_guesses_of_others_do_not_keep_a_client_out_of_where_it_showed_its_secret():
    clock = StillClock()
    of = Guesses(clock)
    of.proven("portal", HOME)
    for number in range(2 * OF_CLIENT):
        guess(of, "portal", f"a{number}")
        guess(of, "another", HOME)  # a neighbour behind the same proxy
    assert not guess(of, "portal", STRANGER)
    assert sum(guess(of, "portal", HOME) for _ in range(2 * OF_ADDRESS)) == OF_ADDRESS
    clock.pass_by(PROVEN.total_seconds())
    assert not any(of._proven.wait(name) for name in of._proven._times)


def test_wrong_codes_of_a_clients_users_do_not_count_against_its_secret():
    of = Guesses(StillClock())
    of.proven("portal", HOME)
    for _ in range(OF_CLIENT):
        of.at_code("portal", None).admit()
        of.at_code("portal", None).wrong()
    with pytest.raises(Refused):
        of.at_code("portal", None).admit()
    of.at_secret("portal", HOME).admit()
    of.at_secret("portal", STRANGER).admit()


def test_an_apps_wrong_codes_count_for_the_address_that_sends_them():
    of = Guesses(StillClock())
    for _ in range(OF_ADDRESS):
        of.at_code("app", STRANGER).wrong()
    with pytest.raises(Refused):
        of.of_address(STRANGER).admit()
    of.of_address(HOME).admit()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 300)), max_size=80),
    st.integers(1, 5),
)
def test_in_no_window_of_time_more_is_let_in_than_the_bound(steps, most):
    clock = StillClock()
    window = Window(most, timedelta(seconds=100), clock)
    let_in = []
    for name, pause in steps:
        clock.pass_by(pause)
        wait = window.wait(name)
        assert 0 <= wait <= 100
        if wait == 0:
            window.count(name)
            let_in.append((name, clock.now()))
    for name, moment in let_in:
        later = [at for who, at in let_in if who == name and moment <= at < moment + timedelta(seconds=100)]
        assert len(later) <= most


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(guesses, "MOST_NAMES", 50)
    clock = StillClock()
    window = Window(1, timedelta(seconds=100), clock)
    for number in range(200):
        window.count(str(number))
    assert len(window._times) == 50
    assert window.wait("199") == 100
    clock.pass_by(100)
    window.count("later")
    assert list(window._times) == ["later"]
