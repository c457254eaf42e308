"""Facts of the verification family: the verdict on the file itself. Said by `verifier`, keyed by the contract."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from events.fact import Fact
from events.values import BaselineLevel, Code, ContractId, Digest, Slot


class VerificationFact(Fact):
    """A verdict on one signed revision."""

    family: ClassVar[str] = "verification"
    ordered_by: ClassVar[str] = "contract"

    contract: ContractId
    slot: Slot
    base: Digest
    signed: Digest
    report: Annotated[Digest, Field(description="Blob: the verification report, JSON")]


class SignatureVerified(VerificationFact):
    """Every signature in the file passed; the file may be released."""

    level: Annotated[BaselineLevel, Field(description="The lowest level among the file's signatures")]
    signatures: Annotated[int, Field(ge=1, description="How many signatures the file holds now")]


class SignatureRejected(VerificationFact):
    """The file is quarantined and never released."""

    reason: Code
