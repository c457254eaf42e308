"""What a batch is: documents in order, one activation over the Merkle root of their digests, a state for each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from events.values import BaselineLevel, ContractId, CredentialId, Digest, Slot
from services.signer.model import SigningAlgorithm

MOST = 10_000
"""Documents in one batch."""
TOGETHER = 8
"""Documents that are claimed in one transaction, signed at once and settled in another."""
TOGETHER_OCTETS = 32 * 1024 * 1024
"""At most so much of them together, but one document of any size: what is being signed lies in memory."""
PAUSE = timedelta(seconds=5)
"""How long a document waits when the CA or the timestamp authority did not answer."""
PATIENCE = 5
"""Claims of a document that may end in a fault of ours before it is refused."""
LIFE = timedelta(days=1)
"""How long after its opening a batch is worked on: the holder approved it then, not for ever."""


class DocumentState(StrEnum):
    """Where one document of a batch stands."""

    AWAITED = "awaited"
    """Its bytes have not been sent yet."""
    WAITING = "waiting"
    LEASED = "leased"
    SIGNED = "signed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Batch:
    """An opened batch. `activation` is the blob of the JWS that approved `root`, `jti` its id, redeemed here."""

    id: ContractId
    jti: str
    credential: CredentialId
    algorithm: SigningAlgorithm
    client: str
    activation: Digest
    root: Digest
    count: int
    level: BaselineLevel
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """One document of a batch. `place` counts from 0, as in the Merkle tree."""

    batch: ContractId
    place: int
    digest: Digest
    state: DocumentState
    size: int | None = None
    """Octets, once the bytes are here."""
    epoch: int = 0
    signed: Digest | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claim: SIGNED, REFUSED with a reason, or WAITING again until `due`."""

    item: Item
    state: DocumentState
    due: datetime
    signed: Digest | None = None
    reason: str | None = None


def slot_of(place: int) -> Slot:
    """The name of a document's signature: a batch stands where a contract stands, its documents where slots stand."""
    return Slot(f"document-{place}")


def field_of(batch: ContractId, place: int) -> str:
    """The name of the PDF field; a document may be in more than one batch."""
    return f"batch-{batch[-12:]}-{place}"
