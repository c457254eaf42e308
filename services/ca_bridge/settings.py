"""What an operator says to the bridge between identities and the CA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from events.values import KeyAlgorithm, SubjectKind
from services.runtime.settings import Settings


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
    citizen_keys: KeyAlgorithm = KeyAlgorithm.P256
    organisation_keys: KeyAlgorithm = KeyAlgorithm.RSA_3072_PSS
    freshness: Annotated[int, Field(ge=10, le=86_400)] = 600
    skew: Annotated[int, Field(ge=0, le=300)] = 30
    validity_days: Annotated[int, Field(ge=1, le=1096)] = 365
    redelivery: Annotated[float, Field(gt=0, le=3600)] = 5.0
    replace_days: Annotated[int, Field(ge=0, le=90)] = 30
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0

    @property
    def key_algorithms(self) -> dict[SubjectKind, KeyAlgorithm]:
        """The key algorithm of each kind of holder."""
        return {SubjectKind.CITIZEN: self.citizen_keys, SubjectKind.ORGANISATION: self.organisation_keys}
