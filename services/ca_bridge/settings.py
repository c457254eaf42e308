"""What an operator says to the bridge between identities and the CA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from events.values import KeyAlgorithm, SubjectKind
from services.runtime.hub import Partner
from services.runtime.settings import Settings, secret


class CaBridgeSettings(Settings):
    """Times are in seconds.

    `authority`: the issuer of identity events and activations. `jwks`: where its keys are. `identity_key_file`: the
    private JWK to which the authority encrypts personal data. `ca`, `ra_token_file`: the CA's API and our token there.
    `registry`: the enterprise registry. `signer`, `service_key_file`: the key store's API and our key there.
    `anchors`: folder of trusted roots. `redelivery`: how soon the authority is asked again for missing events.
    `replace_days`: how long a certificate whose holder's data were corrected may still be used. `citizen_keys`,
    `organisation_keys`: key algorithms by default.
    """

    authority: str
    jwks: str
    identity_key_file: Path
    ca: str
    ra_token_file: Path
    registry: str
    signer: str
    service_key_file: Path
    anchors: Path
    certificates: Annotated[
        Literal["ca", "hub"],
        Field(description="hub: citizens bring the certificates that providers behind the national hub keep for them"),
    ] = "ca"
    hub_url: Annotated[str | None, Field(description="hub: base URL, before /api/v1")] = None
    hub_partner: Annotated[str | None, Field(description="hub: our partner code")] = None
    hub_secret_file: Annotated[Path | None, Field(description="hub: the HMAC secret of requests")] = None
    citizen_keys: KeyAlgorithm = KeyAlgorithm.P256
    organisation_keys: KeyAlgorithm = KeyAlgorithm.RSA_3072_PSS
    freshness: Annotated[int, Field(ge=10, le=86_400)] = 600
    skew: Annotated[int, Field(ge=0, le=300)] = 30
    validity_days: Annotated[int, Field(ge=1, le=1096)] = 365
    redelivery: Annotated[float, Field(gt=0, le=3600)] = 5.0
    replace_days: Annotated[int, Field(ge=0, le=90)] = 30
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in ("hub_url", "hub_partner", "hub_secret_file") if not getattr(self, name)]
        if self.certificates == "hub" and missing:
            named = ", ".join(f"ANTIN_CA_BRIDGE__{name.upper()}" for name in missing)
            raise ValueError(f"with CERTIFICATES=hub these are needed too: {named}")
        return self

    @property
    def partner(self) -> Partner | None:
        """Who we are at the hub, where certificates come from it.

        Raises:
            Malformed: the secret cannot be read.
        """
        if self.certificates != "hub" or self.hub_url is None or self.hub_partner is None:
            return None
        if self.hub_secret_file is None:
            return None
        return Partner(self.hub_url, self.hub_partner, SecretStr(secret(self.hub_secret_file)))

    @property
    def key_algorithms(self) -> dict[SubjectKind, KeyAlgorithm]:
        """The key algorithm of each kind of holder."""
        return {SubjectKind.CITIZEN: self.citizen_keys, SubjectKind.ORGANISATION: self.organisation_keys}
