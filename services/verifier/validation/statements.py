"""One authentic statement about one certificate's status, whether an OCSP response or a CRL makes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain import trust
from services.verifier.validation.algorithms import Scheme, key_acceptance

REASONS = (
    "unspecified",
    "key_compromise",
    "ca_compromise",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "certificate_hold",
    "unused",
    "remove_from_crl",
    "privilege_withdrawn",
    "aa_compromise",
)
"""CRLReason by number (RFC 5280 clause 5.3.1)."""


@dataclass(frozen=True)
class Statement:
    """What one authentic response or list says of one certificate."""

    source: str
    """`ocsp` or `crl`"""
    sha256: str
    """Of the response or list that says it."""
    this_update: datetime
    next_update: datetime | None = None
    answers_back_to: datetime | None = None
    """Certificates that expired after this moment are still answered for (archive cutoff, expiredCertsOnCRL)."""
    revoked_at: datetime | None = None
    reason: str | None = None
    weak: bool = False
    """Signed with an algorithm that proves nothing today."""


class Rejected(Exception):
    """A response or list speaks of the certificate but does not count; `reason` is a kebab-case name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_weak(scheme: Scheme, spki: bytes) -> bool:
    """Whether a signature under the scheme and key proves nothing today."""
    grades = [key_acceptance(spki).grade]
    if scheme.digest is not None:
        grades.append(trust.digest(scheme.digest).grade)
    return trust.Grade.FORBIDDEN in grades


def reason_name(number: int) -> str:
    """The name of a CRLReason; an unknown number is unspecified."""
    return REASONS[number] if 0 <= number < len(REASONS) else REASONS[0]
