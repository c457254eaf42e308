"""Settings of the contracts: ANTIN_CONTRACTS__<NAME>."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.contracts.ports import Limits
from services.runtime.settings import Settings


class ContractsSettings(Settings):
    """Durations in seconds, sizes in octets.

    `authority`: the e-identity authority's issuer URL, as in `iss`; `authority_jwks`: where its keys are, by default
    below the issuer. `sandboxes`: processes that read uploads.
    """

    authority: Annotated[str, Field(min_length=1, max_length=300)]
    authority_jwks: str | None = None
    octets: Annotated[int, Field(ge=1024, le=512 * 1024 * 1024)] = 32 * 1024 * 1024
    pages: Annotated[int, Field(ge=1, le=100_000)] = 2000
    reading_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    reading_memory: Annotated[int, Field(ge=256 * 1024 * 1024)] = 1 << 30
    sandboxes: Annotated[int, Field(ge=1, le=64)] = 2
    expiry_every: Annotated[float, Field(gt=0, le=3600)] = 5.0
    longest_days: Annotated[int, Field(ge=1, le=3650, description="How far ahead a deadline may lie")] = 366

    @property
    def limits(self) -> Limits:
        """What an upload may ask of us."""
        return Limits(octets=self.octets, pages=self.pages, seconds=self.reading_seconds, memory=self.reading_memory)
