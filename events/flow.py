"""Who says and who hears what: the topics, their keys and their listeners in one table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

PARTITIONS = 6
"""Partitions of every topic; equal everywhere and never changed in place, so that a key keeps its order."""


@dataclass(frozen=True)
class Topic:
    """One family's channel."""

    family: str
    key: str
    says: str
    hears: tuple[str, ...]
    keeps: timedelta
    way_back: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The topic's name on the bus."""
        return f"antin.{self.family}.v1"


TOPICS: dict[str, Topic] = {
    topic.family: topic
    for topic in (
        Topic("identity", "identity", "ca_bridge", ("ca_bridge", "contracts"), timedelta(days=90)),
        Topic("binding", "identity", "ca_bridge", ("ca_bridge", "contracts", "signer", "notifier"), timedelta(days=90)),
        Topic("contract", "contract", "contracts", ("signer", "notifier"), timedelta(days=90)),
        Topic("signing", "contract", "signer", ("verifier", "contracts"), timedelta(days=90), way_back=("contracts",)),
        Topic(
            "verification",
            "contract",
            "verifier",
            ("contracts", "notifier"),
            timedelta(days=90),
            way_back=("contracts",),
        ),
        Topic("notification", "subscription", "notifier", (), timedelta(days=30)),
    )
}


def topic_of(family: str) -> str:
    """The name of a family's topic."""
    return TOPICS[family].name


def dead_letters_of(group: str) -> str:
    """Where a group's poison goes."""
    return f"antin.{group}.dlq"
