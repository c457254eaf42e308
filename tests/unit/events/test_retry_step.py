"""Which retry topic an event that must wait goes to."""

from __future__ import annotations

import pytest

from events.flow import retries_of
from events.kafka import retry_step

PAUSES = retries_of("signer")


@pytest.mark.parametrize(
    ("failures", "after", "topic"),
    [
        (0, None, "antin.signer.retry.10s"),
        (1, None, "antin.signer.retry.1m"),
        (2, None, "antin.signer.retry.10m"),
        (9, None, "antin.signer.retry.10m"),
        (-1, None, "antin.signer.retry.10s"),
        (9, 2.0, "antin.signer.retry.10s"),
        (0, 10.0, "antin.signer.retry.10s"),
        (0, 30.0, "antin.signer.retry.1m"),
        (0, 5000.0, "antin.signer.retry.10m"),
    ],
)
def test_the_step_follows_the_tries_or_what_the_wait_says(failures, after, topic):
    assert retry_step(PAUSES, failures, after) == (topic, PAUSES[topic])
