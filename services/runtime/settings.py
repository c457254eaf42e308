"""Settings: one frozen object per service, from ANTIN_<SERVICE>__<NAME>; every fault is reported at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from events.errors import Malformed

PREFIX = "ANTIN_"


class Settings(BaseModel):
    """Base of every service's settings. Secrets are given as a file: a field `x_file: Path`, read at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


def from_environment(kind: type[S], service: str, environment: Mapping[str, str] | None = None, **given: object) -> S:
    """Settings of one service: what the environment says, else what is given, else the defaults.

    Raises:
        Malformed: unknown names or values that do not fit, all of them in one message, never with the values.
    """
    prefix = f"{PREFIX}{service.upper()}__"
    environment = os.environ if environment is None else environment
    found: dict[str, object] = dict(given)
    for name, value in environment.items():
        if name.startswith(prefix):
            found[name[len(prefix) :].lower()] = _plain(value)
    try:
        return kind.model_validate(found)
    except ValidationError as fault:
        faults = "; ".join(
            f"{prefix}{'__'.join(str(part) for part in error['loc']).upper()}: {error['msg']}"
            for error in fault.errors(include_input=False, include_url=False)
        )
        raise Malformed(
            "settings-invalid",
            found=faults,
            expected=f"settings of {service} as in docs/settings.md",
            remedy="correct the environment",
        ) from fault


def _plain(value: str) -> object:
    """Lists and objects are written as JSON; everything else is the text itself."""
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def secret(path: Path) -> str:
    """The text of a secret file, stripped.

    Raises:
        Malformed: missing, empty, or readable by others than its owner.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except OSError as fault:
        raise _unreadable(path, f"no readable file ({type(fault).__name__})") from fault
    if mode & 0o077:
        raise _unreadable(path, "a file that others can read too")
    if not text:
        raise _unreadable(path, "an empty file")
    return text


def _unreadable(path: Path, found: str) -> Malformed:
    return Malformed(
        "secret-unreadable",
        found=f"{found} at {path.name}",
        expected="a secret in a file with mode 0600",
        remedy=f"create it, or: chmod 600 {path.name}",
    )
