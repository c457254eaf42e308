"""Structured logs: one JSON object a line, no personal data by construction (only ids, codes and counts are logged)."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog


def _without_values(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as its types and places: messages and local variables may hold what must not be logged."""
    found = event.pop("exc_info", None)
    fault = sys.exc_info()[1] if found is True else found
    chain: list[dict[str, Any]] = []
    while isinstance(fault, BaseException) and len(chain) < 5:
        frames = traceback.extract_tb(fault.__traceback__)[-8:]
        places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        chain.append({"type": type(fault).__name__, "at": places})
        fault = fault.__cause__ or fault.__context__
    if chain:
        event["exception"] = chain
    return event


def log_to(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send every log line of this process to `stream` (standard error by default)."""
    out = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_values,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # Libraries speak only when something is wrong, and only by name: their messages may quote what they were given.
    logging.basicConfig(level=logging.ERROR, stream=out, format='{"event":"library","logger":"%(name)s"}', force=True)
