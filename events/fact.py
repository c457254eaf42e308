"""What every fact has: a family, a name, a version, and the key that orders it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("found a time without an offset; expected one with, as 2026-11-24T08:00:00Z")
    return moment


def _rfc3339(moment: datetime) -> str:
    from datetime import UTC

    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


Moment = Annotated[datetime, AfterValidator(_in_utc), PlainSerializer(_rfc3339, return_type=str, when_used="json")]
"""A point in time with an offset; written in UTC (RFC 3339)."""


class Value(BaseModel):
    """A frozen part of a fact. Unknown members are refused when it is made and ignored when it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_timedelta="iso8601")


class Fact(Value):
    """Something that happened, in the past participle. It carries digests and references, never personal data."""

    family: ClassVar[str]
    version: ClassVar[int] = 1
    ordered_by: ClassVar[str]

    @classmethod
    def name(cls) -> str:
        """The fact's name on the wire."""
        return cls.__name__

    @classmethod
    def type_name(cls) -> str:
        """CloudEvents `type`: family, name and major version."""
        return f"vn.antin.{cls.family}.{cls.__name__}.v{cls.version}"

    @property
    def key(self) -> str:
        """CloudEvents `partitionkey`: facts of one key are heard in the order they were said."""
        return str(getattr(self, self.ordered_by))

    def data(self) -> dict[str, Any]:
        """The fact as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)
