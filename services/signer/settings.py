"""What an operator says to the signer."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from services.runtime.settings import Settings
from services.signer.csc.model import Client

_NEEDS = {
    "file": ("key_folder", "passphrase_file"),
    "pkcs11": ("pkcs11_module", "pkcs11_token", "pkcs11_pin_file"),
    "csc": ("provider_url", "provider_client", "provider_secret_file"),
    "hub": ("hub_url", "hub_partner", "hub_secret_file", "hub_originator"),
}


class SignerSettings(Settings):
    """Times are in seconds, sizes in octets. Where keys are kept is explained in docs/keys.md.

    `anchors`: folder of the root certificates that signers and timestamp authorities must lead to.
    `tsa`: RFC 3161 timestamp authorities. `authority`: the e-identity authority's issuer URL, as in `iss`;
    `authority_jwks`: where its keys are, by default below the issuer.
    `csc_clients`: systems that may use the CSC API, a JSON list of `{"id", "name", "secret_sha256", "redirect_uris"}`.
    `trusted_proxies`: networks of your own proxies, as a JSON list; only what they say in X-Forwarded-For is believed.
    """

    keys: Annotated[Literal["file", "pkcs11", "csc", "hub"], Field(description="where private keys are kept")] = "file"
    key_folder: Annotated[Path | None, Field(description="file: folder of the key files")] = None
    passphrase_file: Annotated[Path | None, Field(description="file: the passphrase that opens them")] = None
    pkcs11_module: Annotated[Path | None, Field(description="pkcs11: the vendor's shared library")] = None
    pkcs11_token: Annotated[str | None, Field(description="pkcs11: the token's label")] = None
    pkcs11_pin_file: Annotated[Path | None, Field(description="pkcs11: the user PIN")] = None
    pkcs11_sessions: Annotated[
        int, Field(ge=1, le=64, description="pkcs11: operations that the token is given at once by each process")
    ] = 4
    provider_url: Annotated[str | None, Field(description="csc: base URL, ending in /csc/v1 or /csc/v2")] = None
    provider_client: Annotated[str | None, Field(description="csc: our client id (OAuth 2.0)")] = None
    provider_secret_file: Annotated[Path | None, Field(description="csc: our client secret")] = None
    provider_user: Annotated[str | None, Field(description="csc: userID whose credentials are used")] = None
    provider_pin_file: Annotated[Path | None, Field(description="csc: the PIN that activates them")] = None
    hub_url: Annotated[str | None, Field(description="hub: base URL, before /api/v1")] = None
    hub_partner: Annotated[str | None, Field(description="hub: our partner code")] = None
    hub_secret_file: Annotated[Path | None, Field(description="hub: the HMAC secret of requests and webhooks")] = None
    hub_originator: Annotated[str | None, Field(description="hub: the originator's code")] = None
    remote_poll: Annotated[
        float, Field(ge=0.1, le=60, description="csc, hub: seconds between two looks at an approval that is awaited")
    ] = 2.0
    remote_timeout: Annotated[float, Field(gt=0, le=60, description="csc, hub: for one request")] = 10.0
    callback: Annotated[
        str | None, Field(description="csc: public base URL of this API, told to the provider to call back")
    ] = None
    anchors: Path
    tsa: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        Field(min_length=1, max_length=8, description="one URL, or several in the order of preference"),
    ]
    authority: str
    authority_jwks: str | None = None
    audience: str = "antin"
    csc_clients: tuple[Client, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    least_auth_level: Annotated[int, Field(ge=1, le=4)] = 2
    tsa_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    tsa_skew: Annotated[float, Field(gt=0, le=600)] = 60.0
    status_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    status_limit: Annotated[int, Field(ge=10_000, le=50_000_000)] = 4_000_000
    status_embedded: Annotated[
        int, Field(ge=0, le=50_000_000, description="a larger CRL stands in for no OCSP responder that is away")
    ] = 500_000

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in _NEEDS[self.keys] if getattr(self, name) in (None, "")]
        if missing:
            named = ", ".join(f"ANTIN_SIGNER__{name.upper()}" for name in missing)
            raise ValueError(f"with KEYS={self.keys} these are needed too: {named}")
        return self
