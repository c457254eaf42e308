"""The authority's order: gaps, late events, staleness, and an end that is final."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import Refused
from services.ca_bridge.intake import Accepted, Identity, IdentityState, Passed
from tests.support.bridge_books import NOON, event, pseudonym, taken

ANN, BEN, FIRM = (pseudonym(name) for name in ("ann", "ben", "firm"))


def accept(known: Identity | None, what: str, place: int, **data: Any) -> Identity:
    outcome = taken(event(what, data.pop("subject", ANN), place, **data), known)
    assert isinstance(outcome, Accepted), outcome
    return outcome.identity


def passed(known: Identity | None, what: str, place: int, **data: Any) -> tuple[str, Identity]:
    outcome = taken(event(what, data.pop("subject", ANN), place, **data), known)
    assert isinstance(outcome, Passed), outcome
    return outcome.fault.code, outcome.identity


def refused(known: Identity | None, what: str, place: int, **data: Any) -> str:
    with pytest.raises(Refused) as caught:
        taken(event(what, data.pop("subject", ANN), place, **data), known)
    assert caught.value.found
    assert caught.value.expected
    assert caught.value.remedy
    return caught.value.code


def test_a_lock_is_applied_in_spite_of_a_gap_and_the_gap_is_kept() -> None:
    """docs/adr/0005."""
    known = accept(None, "identity.verified", 1)
    outcome = taken(event("identity.locked", ANN, 5), known)
    assert isinstance(outcome, Accepted)
    assert outcome.missing == 3
    assert outcome.identity.state is IdentityState.LOCKED
    assert outcome.identity.missing == ((2, 4),)
    assert outcome.identity.expected == 2


@pytest.mark.parametrize("what", ["identity.verified", "identity.updated", "identity.unlocked", "org.verified"])
def test_what_gives_waits_for_what_is_missing(what: str) -> None:
    known = accept(None, "identity.verified", 1)
    assert refused(known, what, 3) == "identity-out-of-order"
    gapped = accept(known, "identity.locked", 4)
    assert refused(gapped, what, 5) == "identity-out-of-order"


def test_missing_places_are_filled_from_below_and_then_the_order_goes_on() -> None:
    known = accept(accept(None, "identity.verified", 1), "identity.locked", 4)
    assert refused(known, "identity.updated", 3) == "identity-out-of-order"
    known = accept(known, "identity.updated", 2)
    known = accept(known, "identity.updated", 3)
    assert known.missing == ()
    assert accept(known, "identity.unlocked", 5).state is IdentityState.ACTIVE


def test_an_unlock_from_before_the_last_lock_lifts_nothing() -> None:
    known = accept(accept(None, "identity.locked", 1), "identity.locked", 3)
    code, after = passed(known, "identity.unlocked", 2)
    assert code == "identity-overtaken"
    assert after.state is IdentityState.LOCKED
    assert after.missing == ()


def test_a_late_end_still_ends_and_a_late_lock_does_not_unend() -> None:
    """An end that was jumped over must not be lost."""
    known = accept(accept(None, "identity.verified", 1), "identity.locked", 3)
    ended = accept(known, "identity.ended", 2)
    assert ended.state is IdentityState.ENDED
    assert accept(ended, "identity.locked", 4).state is IdentityState.ENDED


def test_a_late_change_of_representative_counts_unless_a_later_one_came() -> None:
    firm = accept(None, "org.verified", 1, subject=FIRM, representative=ANN)
    locked = accept(firm, "identity.locked", 3, subject=FIRM)
    changed = accept(locked, "org.representative_changed", 2, subject=FIRM, representative=BEN)
    assert changed.representative == BEN
    later = accept(firm, "org.representative_changed", 3, subject=FIRM, representative=BEN)
    code, after = passed(later, "org.representative_changed", 2, subject=FIRM, representative=ANN)
    assert (code, after.representative) == ("identity-overtaken", BEN)


def test_replays_and_foreign_or_future_events_take_no_place() -> None:
    known = accept(None, "identity.verified", 1)
    assert refused(known, "identity.verified", 1) == "identity-late-or-replayed"
    assert refused(known, "identity.locked", 1) == "identity-late-or-replayed"
    assert refused(known, "identity.locked", 2, at=NOON + timedelta(seconds=31)) == "identity-from-the-future"
    with pytest.raises(Refused, match="identity-issuer-unknown"):
        taken(event("identity.locked", ANN, 2).model_copy(update={"source": "https://elsewhere.example"}), known)


@pytest.mark.parametrize(
    ("what", "data", "code"),
    [
        ("identity.verified", {"at": NOON - timedelta(minutes=11)}, "identity-stale"),
        ("identity.verified", {"valid_until": NOON.isoformat()}, "identity-no-longer-valid"),
        ("identity.verified", {"identifier_enc": None}, "identity-identifier-missing"),
        ("identity.verified", {"account_level": 9}, "identity-unreadable"),
        ("identity.verified", {"consent": {"id": "x", "expires_at": NOON.isoformat()}}, "identity-consent-expired"),
        ("identity.verified", {"subject_kind": "organisation"}, "identity-kind-mismatch"),
        ("org.verified", {"representative": ANN}, "identity-kind-mismatch"),
        ("identity.renamed", {}, "identity-type-unknown"),
    ],
)
def test_what_is_refused_for_what_it_says_holds_nothing_back(what: str, data: dict[str, Any], code: str) -> None:
    known = accept(None, "identity.verified", 1)
    found, after = passed(known, what, 2, **data)
    assert found == code
    assert after == known.model_copy(update={"sequence": 2})
    accept(after, "identity.locked", 3)


def test_unlocks_and_corrections_do_not_grow_stale() -> None:
    """Only a verification is for an application now; a correction after our own outage still counts."""
    known = accept(accept(None, "identity.verified", 1), "identity.locked", 2)
    old = NOON - timedelta(days=3)
    assert accept(known, "identity.unlocked", 3, at=old).state is IdentityState.ACTIVE
    accept(known, "identity.updated", 3, at=old)


@pytest.mark.parametrize("what", ["identity.locked", "identity.ended", "org.dissolved"])
def test_rights_are_taken_away_whatever_else_the_event_says(what: str) -> None:
    known = accept(None, "identity.verified", 1)
    outcome = taken(event(what, ANN, 2, reason_code="Không hợp lệ", account_level="?"), known)
    assert isinstance(outcome, Accepted)
    assert outcome.identity.state is not IdentityState.ACTIVE


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30))
def test_places_heard_and_missing_are_always_all_places(order: list[int]) -> None:
    """Whatever arrives in whatever order, nothing is counted twice and nothing is forgotten."""
    known: Identity | None = None
    heard: set[int] = set()
    for place in order:
        if place in heard:
            assert refused(known, "identity.locked", place) == "identity-late-or-replayed"
            continue
        known = accept(known, "identity.locked", place)
        heard.add(place)
        missing = {one for first, last in known.missing for one in range(first, last + 1)}
        assert missing | heard == set(range(1, known.sequence + 1))
        assert not missing & heard


EVENTS = st.sampled_from(
    ["identity.verified", "identity.updated", "identity.locked", "identity.unlocked", "identity.ended"]
)


@given(st.lists(st.tuples(EVENTS, st.integers(1, 10)), max_size=30))
def test_nothing_follows_an_end(story: list[tuple[str, int]]) -> None:
    """vietnam.md 3.5: "verified" arriving after "deceased" must not revive."""
    known: Identity | None = None
    ended = False
    for what, place in story:
        try:
            outcome = taken(event(what, ANN, place), known)
        except Refused:
            continue
        known = outcome.identity
        if isinstance(outcome, Accepted):
            ended = ended or what == "identity.ended"
            assert not ended or what in ("identity.ended", "identity.locked")
        assert not ended or known.state is IdentityState.ENDED


@given(st.permutations(range(1, 7)), st.lists(EVENTS, min_size=6, max_size=6))
def test_any_order_with_redelivery_ends_as_the_authoritys_order(order: list[int], story: list[str]) -> None:
    """However events arrive, once all have been delivered again the identity is no freer than in the right order."""
    told = [event(what, ANN, place) for place, what in enumerate(story, 1)]

    def deliver(places: list[int]) -> Identity:
        known: Identity | None = None
        for _ in range(7):
            for place in places:
                try:
                    known = taken(told[place - 1], known).identity
                except Refused:
                    continue
        assert known is not None
        return known

    right, other = deliver(list(range(1, 7))), deliver(order)
    assert other.missing == ()
    assert other.state == right.state
