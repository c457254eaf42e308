"""What an operator says to the signer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.runtime.settings import Settings


class SignerSettings(Settings):
    """Times are in seconds, sizes in octets.

    `keys`: folder of the key files. `passphrase_file`: the passphrase that opens them, in a file of mode 0600.
    `anchors`: folder of the root certificates that signers and timestamp authorities must lead to.
    `tsa`: URL of the RFC 3161 timestamp authority. `authority`: the e-identity authority's issuer URL, as in `iss`;
    `authority_jwks`: where its keys are, by default below the issuer.
    """

    keys: Path
    passphrase_file: Path
    anchors: Path
    tsa: str
    authority: str
    authority_jwks: str | None = None
    audience: str = "antin"
    least_auth_level: Annotated[int, Field(ge=1, le=4)] = 2
    tsa_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    tsa_skew: Annotated[float, Field(gt=0, le=600)] = 60.0
    status_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    status_limit: Annotated[int, Field(ge=10_000, le=50_000_000)] = 4_000_000
