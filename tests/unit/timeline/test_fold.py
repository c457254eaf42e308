"""The fold of the timeline: repeats, replays and late arrivals change nothing (crash-safety.md on Faust)."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from services.timeline.model import (
    WHOLE,
    ContractLine,
    Count,
    contract_of,
    fold_contract,
    fold_count,
    latencies,
    stages_of,
)
from tests.support.timeline_events import life


def folded(events) -> ContractLine:
    line = ContractLine(contract=str(contract_of(events[0])))
    for event in events:
        line = fold_contract(line, event)
    return line


@given(st.randoms(use_true_random=False), st.booleans())
def test_repeats_and_any_order_give_the_same_state(chance: random.Random, completed: bool):
    events = life(completed=completed)
    mixed = events + [chance.choice(events) for _ in range(10)]
    chance.shuffle(mixed)
    assert folded(mixed) == folded(events)


def test_the_state_is_what_ended_it_first():
    events = life()
    assert folded(events[:1]).state == "sent"
    assert folded(events).state == "completed"
    assert folded(life(completed=False)).state == "expired"


def test_stages_are_measured_between_facts_of_one_slot():
    line = folded(life(("buyer",)))
    assert dict(stages_of(line)) == {WHOLE: 3000.0}
    assert latencies([line, line])[WHOLE] == (2, 3000.0, 3000.0)


@given(st.lists(st.integers(0, 50), max_size=60))
def test_a_count_is_not_raised_by_what_was_counted_before(offsets: list[int]):
    """A worker that dies after writing its table and before committing hears the same offsets again."""
    count = Count()
    for offset in sorted(offsets):
        count = fold_count(fold_count(count, offset), offset)
    assert count.events == len(set(offsets))
