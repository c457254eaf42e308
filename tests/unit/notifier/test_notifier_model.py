"""The decisions of the notifier: Standard Webhooks 1.0 "Retries", RFC 9110 clause 10.2.3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.notifier.model import (
    HEARD,
    WILDCARDS,
    Abandoned,
    Again,
    Answer,
    Delivered,
    Gone,
    Verdict,
    matches,
    pause_after,
    retry_after,
    verdict,
)
from services.notifier.settings import NotifierSettings

NOW = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
SCHEDULE = NotifierSettings.model_fields["schedule"].default


def judge(answer: Answer, attempts: int = 1, failures: int = 0, since: datetime | None = None) -> Verdict:
    return verdict(
        answer,
        attempts=attempts,
        schedule=SCHEDULE,
        now=NOW,
        retry_after_most=3600,
        failures=failures,
        failing_since=since,
        disable_after=5 * 86400,
    )


def answered(status: int | None, asked: float | None = None) -> Answer:
    return Answer(status, "told", asked)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_two_hundreds_alone_are_success(status: int) -> None:
    assert judge(answered(status)) == Delivered()


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 307, 400, 401, 404, 429, 500, 503])
def test_anything_else_is_tried_again(status: int | None) -> None:
    """Standard Webhooks 1.0: "any other status code, including 3xx redirects, ... a failure"."""
    assert isinstance(judge(answered(status)), Again)


def test_410_disables() -> None:
    """Standard Webhooks 1.0: 410 Gone: disable the endpoint and stop sending."""
    assert judge(answered(410)) == Gone()


def test_the_schedule_is_that_of_the_standard_and_ends() -> None:
    waits = []
    for attempt in range(1, 8):
        found = judge(answered(500), attempts=attempt)
        assert isinstance(found, Again)
        waits.append((found.due - NOW).total_seconds())
    assert waits == [5, 300, 1800, 7200, 18000, 36000, 36000]
    assert judge(answered(500), attempts=8) == Abandoned(disable=False)


def test_a_subscription_that_failed_for_five_days_is_disabled_with_its_next_abandoned_message() -> None:
    assert judge(answered(500), attempts=8, since=NOW - timedelta(days=5)) == Abandoned(disable=True)
    assert judge(answered(500), attempts=8, since=NOW - timedelta(days=4, hours=23)) == Abandoned(disable=False)


def test_retry_after_is_honoured_for_the_whole_subscription() -> None:
    found = judge(answered(503, 120.0))
    assert found == Again(NOW + timedelta(seconds=120), NOW + timedelta(seconds=120))


def test_retry_after_never_shortens_the_schedule_and_is_bounded() -> None:
    short = judge(answered(429, 1.0))
    assert isinstance(short, Again)
    assert short.due == NOW + timedelta(seconds=5)
    long = judge(answered(429, 10.0**9))
    assert isinstance(long, Again)
    assert long.due == NOW + timedelta(seconds=3600)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Tue, 24 Nov 2026 05:02:00 GMT", 120.0),
        ("Tue, 24 Nov 2026 04:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("1e9", None),
        ("٣", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_rfc_9110_clause_10_2_3_says(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


def test_who_fails_ten_times_in_a_row_is_paused_longer_and_longer() -> None:
    assert [pause_after(n) for n in (0, 1, 9, 10, 11, 12, 16, 1000)] == [0, 0, 0, 5, 10, 20, 300, 300]


def test_only_facts_that_the_flow_lets_the_notifier_hear_can_be_subscribed_to() -> None:
    assert WILDCARDS == ("vn.antin.binding.*", "vn.antin.contract.*", "vn.antin.verification.*")
    assert {name.split(".")[2] for name in HEARD} == {"binding", "contract", "verification"}


def test_types_match_whole_or_by_family() -> None:
    completed = "vn.antin.contract.ContractCompleted.v1"
    assert matches([completed], completed)
    assert matches(["vn.antin.contract.*"], completed)
    assert not matches(["vn.antin.binding.*"], completed)
    assert not matches(["vn.antin.contract.ContractExpired.v1"], completed)
    assert not matches([], completed)
