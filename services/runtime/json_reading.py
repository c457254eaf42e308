"""JSON that somebody else wrote: every way in which it cannot be read is one error."""

from __future__ import annotations

import json
from typing import Any


def value_of(raw: bytes) -> Any:
    """The JSON value in the octets.

    Raises:
        ValueError: they are "not JSON", or nested more deeply than can be read.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise ValueError("not JSON") from fault


def object_of(raw: bytes) -> dict[str, Any]:
    """The members of the JSON object in the octets.

    Raises:
        ValueError: they are "not JSON", or "no JSON object".
    """
    found = value_of(raw)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found
