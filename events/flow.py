"""Who says and who hears what: the topics, their keys and their listeners in one table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

PARTITIONS = 6
"""Partitions of every topic; equal everywhere and never changed in place, so that a key keeps its order."""

LARGEST = 128 * 1024
"""Bytes of the largest message a topic takes: an event of 64 kB with headers, and room for those that are refused."""

RETRIES: dict[str, float] = {"10s": 10.0, "1m": 60.0, "10m": 600.0}
"""How long an event that must wait waits, by the name of the step; the last one is repeated."""

AUTHORITY = "antin.authority.v1"
"""Where the e-identity authority may put its signed events, as an alternative to HTTP; each is one JWS."""


@dataclass(frozen=True)
class Topic:
    """One family's channel. `hears`: the consumer groups; a group belongs to the service before its first hyphen."""

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

    @property
    def services(self) -> tuple[str, ...]:
        """The services that hear it."""
        return tuple(dict.fromkeys(service_of(group) for group in self.hears))


TOPICS: dict[str, Topic] = {
    topic.family: topic
    for topic in (
        Topic(
            "identity",
            "identity",
            "ca_bridge",
            ("ca_bridge", "ca_bridge-releases", "contracts", "timeline"),
            timedelta(days=90),
        ),
        Topic(
            "binding",
            "identity",
            "ca_bridge",
            ("ca_bridge-issuing", "ca_bridge-telling", "contracts", "signer", "notifier", "timeline"),
            timedelta(days=90),
        ),
        Topic("contract", "contract", "contracts", ("signer", "notifier", "timeline"), timedelta(days=90)),
        Topic(
            "signing",
            "contract",
            "signer",
            ("verifier", "contracts", "timeline"),
            timedelta(days=90),
            way_back=("contracts",),
        ),
        Topic(
            "verification",
            "contract",
            "verifier",
            ("contracts", "notifier", "timeline"),
            timedelta(days=90),
            way_back=("contracts",),
        ),
        Topic("notification", "subscription", "notifier", ("timeline",), timedelta(days=30)),
    )
}


def topic_of(family: str) -> str:
    """The name of a family's topic."""
    return TOPICS[family].name


def service_of(group: str) -> str:
    """The service a consumer group belongs to."""
    return group.partition("-")[0]


def groups() -> dict[str, tuple[str, ...]]:
    """Every consumer group and the topics it hears, the authority's included."""
    found: dict[str, list[str]] = {}
    for topic in TOPICS.values():
        for group in topic.hears:
            found.setdefault(group, []).append(topic.name)
    found["ca_bridge-intake"] = [AUTHORITY]
    return {group: tuple(names) for group, names in sorted(found.items())}


def dead_letters_of(group: str) -> str:
    """Where a group's poison goes."""
    return f"antin.{group}.dlq"


def retries_of(group: str) -> dict[str, float]:
    """Where a group's waiting events go, with the seconds they wait there, shortest first."""
    return {f"antin.{group}.retry.{name}": seconds for name, seconds in RETRIES.items()}
