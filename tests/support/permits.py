"""A redeemed permit over a revision of a few octets, for tests of key stores."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime

from events.values import ContractId, CredentialId, Digest, Slot
from services.signer.model import (
    MESSAGE_DIGEST_ATTRIBUTE,
    Passed,
    Prepared,
    RedeemedPermit,
    Redemption,
    SigningAlgorithm,
)


def permit(credential: CredentialId, algorithm: SigningAlgorithm, *, tail: bytes = b"tail") -> RedeemedPermit:
    """A permit for this key; another `tail` is another revision, hence another digest."""
    base = b"base"
    digest = hashlib.sha256(base + tail).digest()
    return Redemption(
        jti=f"permit-{tail.hex()}",
        contract=ContractId(str(uuid.UUID(int=3))),
        slot=Slot("buyer"),
        credential=credential,
        algorithm=algorithm,
        shown=Digest.of(base),
        base=Digest.of(base),
        base_size=len(base),
        redeemed_at=datetime(2026, 11, 24, tzinfo=UTC),
    ).permit(Prepared(Passed(base), b"<00>" + tail, (4, 8), MESSAGE_DIGEST_ATTRIBUTE + digest))
