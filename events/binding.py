"""Facts of the binding family: certificates that live and die with the e-identity.

Said by `ca_bridge`, keyed by the pseudonym of the holder. Sources: Decree 23/2025/ND-CP Art 38 (issue after
verification, published after the subscriber confirms), RFC 5280 clause 5.3.1 (reasons).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from events.fact import Fact, Moment
from events.values import ApplicationId, CertificateProfile, Code, CredentialId, Digest, IdentityId, KeyAlgorithm

Sentence = Annotated[str, Field(max_length=400, description="For people; never personal data")]


class BindingFact(Fact):
    """A fact about the certificates of one e-identity."""

    family: ClassVar[str] = "binding"
    ordered_by: ClassVar[str] = "identity"

    identity: IdentityId


class ApplicationOpened(BindingFact):
    """Somebody verified applies for a certificate."""

    application: ApplicationId
    profile: CertificateProfile
    key_algorithm: KeyAlgorithm


class ApplicationRefused(BindingFact):
    """The application ends without a certificate."""

    application: ApplicationId
    reason: Code
    found: Sentence
    expected: Sentence
    remedy: Sentence


class CertificateIssued(BindingFact):
    """The CA issued; the subscriber has yet to confirm the content."""

    application: ApplicationId
    credential: CredentialId
    certificate: Digest


class CertificateBound(BindingFact):
    """The subscriber confirmed; certificate, key and e-identity belong together from now on."""

    application: ApplicationId
    credential: CredentialId
    certificate: Annotated[Digest, Field(description="SHA-256 of the certificate's DER")]
    chain: Annotated[Digest, Field(description="Blob: the certificate and its issuers up to the root, PEM")]
    profile: CertificateProfile
    key_algorithm: KeyAlgorithm
    representative: Annotated[
        IdentityId | None, Field(description="Who activates an organisation's key; none for a person's own")
    ] = None
    not_before: Moment
    not_after: Moment
    confirmed_at: Moment


class CertificateSuspended(BindingFact):
    """A hold: the certificate must not sign until it is released."""

    credential: CredentialId
    certificate: Digest
    reason: Code
    since: Moment


class CertificateReleased(BindingFact):
    """The last hold ended; the certificate may sign again."""

    credential: CredentialId
    certificate: Digest
    reason: Code
    since: Moment
    representative: IdentityId | None = None


class CertificateRevoked(BindingFact):
    """The certificate has ended for good."""

    credential: CredentialId
    certificate: Digest
    reason: Code
    since: Moment
