"""What an operator says to the verifier."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from services.runtime import door
from services.runtime.settings import Settings


def _rate(text: str) -> str:
    door.rate(text)
    return text


class VerifierSettings(Settings):
    """Times are in seconds, sizes in octets.

    `anchors`: folder of certificates that signatures and timestamps must lead to; a set of its own.
    `trust`: folder of named anchor sets, as `antin trust` keeps them; what changes there counts at once.
    `cpu`, `wall`, `memory`: what the process that judges one file may use (docs/verification.md).
    `workers`: files judged at once. `waiting`: uploads that may be inside at once; more are told to come back (503).
    `upload_rate`: uploads of one address (IPv6: one /64), as a moving window; `upload_each`: of them at once; more are
    answered 429. `upload_seconds`: in which an upload's body must arrive. `trusted_proxies`: networks of your own
    proxies, as a JSON list; only what they say in X-Forwarded-For is believed.
    `fetch_status`: ask OCSP responders and CRL servers of trusted certificates when a file brings no status data.
    `seal_key_file`, `seal_chain_file`: private key (PEM, mode 0600) and certificates (PEM, its own first) of the
    electronic seal on PDF reports; without them there are none. `seal_tsa`: URL of the RFC 3161 authority whose
    timestamp the seal carries.
    """

    anchors: Path | None = None
    trust: Path | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    waiting: Annotated[int, Field(ge=1, le=1000)] = 16
    file_limit: Annotated[int, Field(ge=100_000, le=1 << 30)] = 64 * 1024 * 1024
    upload_limit: Annotated[int, Field(ge=100_000, le=1 << 30)] = 32 * 1024 * 1024
    upload_rate: Annotated[str, AfterValidator(_rate)] = "30 per minute"
    upload_each: Annotated[int, Field(ge=1, le=1000)] = 4
    upload_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    cpu: Annotated[int, Field(ge=1, le=600)] = 8
    wall: Annotated[float, Field(gt=0, le=900)] = 9.0
    memory: Annotated[int, Field(ge=64 * 1024 * 1024)] = 384 * 1024 * 1024
    fetch_status: bool = True
    seal_key_file: Path | None = None
    seal_chain_file: Path | None = None
    seal_tsa: str | None = None
    status_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    status_limit: Annotated[int, Field(ge=10_000, le=50_000_000)] = 4_000_000
