"""What an operator says to the verifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.runtime.settings import Settings


class VerifierSettings(Settings):
    """Times are in seconds, sizes in octets.

    `anchors`: folder of certificates that signatures and timestamps must lead to; a set of its own.
    `trust`: folder of named anchor sets, as `antin trust` keeps them; what changes there counts at once.
    `workers`: files judged at once. `waiting`: uploads that may wait for a judge; more are told to come back.
    `cpu`, `wall`, `memory`: what the process that judges one file may use (docs/verification.md).
    `fetch_status`: ask OCSP responders and CRL servers of trusted certificates when a file brings no status data.
    """

    anchors: Path | None = None
    trust: Path | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    waiting: Annotated[int, Field(ge=1, le=1000)] = 16
    file_limit: Annotated[int, Field(ge=100_000, le=1 << 30)] = 64 * 1024 * 1024
    upload_limit: Annotated[int, Field(ge=100_000, le=1 << 30)] = 32 * 1024 * 1024
    cpu: Annotated[int, Field(ge=1, le=600)] = 8
    wall: Annotated[float, Field(gt=0, le=900)] = 9.0
    memory: Annotated[int, Field(ge=64 * 1024 * 1024)] = 384 * 1024 * 1024
    fetch_status: bool = True
    status_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    status_limit: Annotated[int, Field(ge=10_000, le=50_000_000)] = 4_000_000
