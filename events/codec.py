"""Events to bytes and back: strict in what is said, tolerant in what is heard.

CloudEvents 1.0 as a message of the bus (binary mode of the Kafka protocol binding) and as one JSON object (structured
mode: webhooks, files).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError

from events.envelope import Event
from events.errors import Malformed
from events.fact import Fact
from events.registry import fact_class
from events.values import EventId

STRUCTURED = "application/cloudevents+json"
LIMIT = 64 * 1024
"""Events are at most this many bytes (CloudEvents 1.0.2 clause 5): large things travel as digests."""

PREFIX = "ce_"
"""Begins the name of every header that is a context attribute (Kafka protocol binding 1.0.2 clause 3.2.3)."""

SCHEMA_BASE = "urn:antin:schema:"
_FORMAT = JSONFormat()


def schema_uri(fact: type[Fact]) -> str:
    """CloudEvents `dataschema` of a fact."""
    return f"{SCHEMA_BASE}{fact.family}:{fact.name()}:v{fact.version}"


def attributes(event: Event[Fact]) -> dict[str, Any]:
    """The context attributes of the envelope."""
    found: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": event.source,
        "type": event.type,
        "subject": event.key,
        "time": event.time,
        "datacontenttype": "application/json",
        "dataschema": schema_uri(type(event.fact)),
        "partitionkey": event.key,
    }
    if event.cause is not None:
        found["cause"] = str(event.cause)
    if event.traceparent is not None:
        found["traceparent"] = event.traceparent
    return found


def to_structured(event: Event[Fact]) -> bytes:
    """The event as one JSON object.

    Raises:
        Malformed: the event is larger than 64 kB.
    """
    text = _FORMAT.write(CloudEvent(attributes(event), event.fact.data()))
    _within_limit(len(text))
    return text


def from_structured(text: bytes) -> Event[Fact]:
    """Read one JSON object; members this version does not know are ignored.

    Raises:
        Malformed: too large, not a CloudEvent, or a fact that is unknown or not of its form.
    """
    _within_limit(len(text))
    try:
        read = _FORMAT.read(CloudEvent, text)
    except (BaseCloudEventException, ValueError, TypeError, KeyError, RecursionError) as fault:
        raise _not_an_event(type(fault).__name__) from fault
    return _understand(read)


def to_message(event: Event[Fact]) -> tuple[dict[str, str], bytes]:
    """Headers and the data as JSON (CloudEvents Kafka protocol binding 1.0.2 clause 3.2).

    Raises:
        Malformed: the event is larger than 64 kB.
    """
    named = attributes(event)
    named["time"] = event.time.isoformat().replace("+00:00", "Z")
    data = json.dumps(event.fact.data(), ensure_ascii=False, separators=(",", ":")).encode()
    _within_limit(len(data) + sum(len(name) + len(text) for name, text in named.items()))
    media = named.pop("datacontenttype")
    return {"content-type": media, **{PREFIX + name: text for name, text in named.items()}}, data


def from_message(headers: Mapping[str, str], data: bytes) -> Event[Fact]:
    """Read headers and data; the reverse of `to_message`. Headers that are no attributes are ignored.

    Raises:
        Malformed: too large, not a CloudEvent, or a fact that is unknown or not of its form.
    """
    _within_limit(len(data))
    try:
        found: dict[str, Any] = {
            name.removeprefix(PREFIX): text for name, text in headers.items() if name.startswith(PREFIX)
        }
        found["datacontenttype"] = headers.get("content-type", "")
        if "time" in found:
            found["time"] = datetime.fromisoformat(found["time"])
        read = CloudEvent(found, json.loads(data))
    except (BaseCloudEventException, ValueError, TypeError, KeyError, RecursionError) as fault:
        raise _not_an_event(type(fault).__name__) from fault
    return _understand(read)


def _understand(read: BaseCloudEvent) -> Event[Fact]:
    kind = fact_class(read.get_type())
    data = read.get_data()
    try:
        fact = kind.model_validate(data, extra="ignore")
        identifier = EventId(read.get_id())
    except (ValidationError, ValueError) as fault:
        raise Malformed(
            "not-of-its-schema",
            found=f"a {kind.name()} that does not fit its schema ({_where(fault)})",
            expected=schema_uri(kind),
            remedy="correct the speaker; the original is kept as a dead letter",
        ) from fault
    moment = read.get_time()
    if moment is None or moment.tzinfo is None:
        raise _not_an_event("no time with an offset")
    cause = read.get_extension("cause")
    trace = read.get_extension("traceparent")
    return Event(
        id=identifier,
        source=read.get_source(),
        time=moment,
        fact=fact,
        cause=EventId(cause) if isinstance(cause, str) else None,
        traceparent=trace if isinstance(trace, str) else None,
    )


def _where(fault: ValueError) -> str:
    if isinstance(fault, ValidationError):
        return ", ".join(".".join(str(part) for part in error["loc"]) or "the whole" for error in fault.errors()[:5])
    return "id"


def _within_limit(size: int) -> None:
    if size > LIMIT:
        raise Malformed(
            "event-too-large",
            found=f"an event of {size} bytes",
            expected=f"at most {LIMIT} bytes",
            remedy="put large content into a blob and send its digest",
        )


def _not_an_event(what: str) -> Malformed:
    return Malformed(
        "not-a-cloudevent",
        found=f"something that cannot be read as a CloudEvent ({what})",
        expected="a CloudEvents 1.0 event",
        remedy="correct the speaker; the original is kept as a dead letter",
    )
