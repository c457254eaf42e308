"""Facts of the signing family: what the signer did, or why it refused. Said by `signer`, keyed by the contract."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from events.binding import Sentence
from events.fact import Fact, Moment
from events.values import BaselineLevel, Code, ContractId, CredentialId, Digest, IdentityId, Slot


class SigningFact(Fact):
    """A fact about one slot of one contract."""

    family: ClassVar[str] = "signing"
    ordered_by: ClassVar[str] = "contract"

    contract: ContractId
    slot: Slot
    identity: IdentityId
    credential: CredentialId


class DocumentSigned(SigningFact):
    """The slot is signed. A claim until the verifier has judged the file itself."""

    certificate: Digest
    base: Annotated[Digest, Field(description="The revision that was signed")]
    shown: Annotated[Digest, Field(description="What the party saw and approved")]
    signed: Annotated[Digest, Field(description="Blob: the signed file")]
    field: Annotated[str, Field(max_length=100, description="Name of the PDF signature field")]
    level: BaselineLevel
    checked: Annotated[Digest, Field(description="Blob: the pre-sign status check (Decree 23/2025/ND-CP Art 15)")]
    signed_at: Moment


class SigningRefused(SigningFact):
    """The slot was not signed and will not be by trying again."""

    base: Digest
    reason: Code
    found: Sentence
    expected: Sentence
    remedy: Sentence
