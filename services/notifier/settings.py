"""Settings of the notifier: ANTIN_NOTIFIER__<NAME>."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.runtime.settings import Settings

Seconds = Annotated[float, Field(ge=0)]


class NotifierSettings(Settings):
    """How webhooks are kept, sealed and delivered. All durations are in seconds."""

    key_file: Annotated[Path, Field(description="Seals the subscribers' secrets; made with mode 0600 when missing")]
    schedule: Annotated[tuple[Seconds, ...], Field(max_length=30)] = (5, 300, 1800, 7200, 18000, 36000, 36000)
    """Waits after failed attempts 1, 2, ...; the first attempt is made at once (Standard Webhooks 1.0, "Retries")."""
    retry_after_most: Seconds = 6 * 3600
    """A subscriber's Retry-After is honoured up to this."""
    timeout: Annotated[float, Field(gt=0, le=60)] = 15.0
    concurrency: Annotated[int, Field(ge=2, le=48)] = 16
    """Attempts in flight; at most half of them to subscribers whose last attempt failed."""
    lease: Annotated[float, Field(ge=1)] = 60.0
    """After this an attempt that nobody finished is made again; more than `timeout`."""
    poll: Annotated[float, Field(gt=0, le=60)] = 0.5
    grace: Seconds = 5.0
    """At a stop, attempts in flight are given this long."""
    disable_after: Seconds = 5 * 86400
    """A subscription whose every attempt has failed for this long is disabled."""
    keep: Seconds = 30 * 86400
    """Finished messages are kept this long, for looking up and for sending again by hand."""
    most: Annotated[int, Field(ge=1)] = 200
    """Subscriptions of one installation."""
