"""What both writers hold to: before a key moves, and before a file is released."""

from __future__ import annotations

from events.errors import Refused, Unavailable
from events.values import BaselineLevel
from services.signer.model import Evidence, SigningOrder, Token

TIMED = (BaselineLevel.T, BaselineLevel.LT, BaselineLevel.LTA)
LASTING = (BaselineLevel.LT, BaselineLevel.LTA)
"""Each level holds what those before it hold (ETSI EN 319 142-1 clause 6)."""

CLOSING_TRIES = 16
"""Document timestamps that are asked for until one fits and its authority's material is in the file."""


class TooLarge(Exception):
    """What is to be embedded does not fit the hole made for it."""


def may_begin(base: bytes, order: SigningOrder, evidence: Evidence) -> None:
    """`base` is SHA-256 of the file that is to be signed.

    Raises:
        Refused: it is another file than the permit's.
        Unavailable: the level needs status material, and there is none.
    """
    if base != order.redemption.base.raw:
        raise Refused(
            "not-what-was-authorised",
            found="another base revision than the permit's",
            expected="the bytes that were authorised",
            remedy="ask for the signature with the right revision",
        )
    if order.level in LASTING and not (evidence.ocsps or evidence.crls):
        raise Unavailable(
            "no-evidence",
            found="no status material of the signer's certificate",
            expected="an OCSP response or a CRL to embed (PAdES-BASELINE-LT)",
            remedy="nothing was signed; it is tried again",
        )


def to_store(order: SigningOrder, evidence: Evidence, token: Token, material: Evidence) -> Evidence:
    """What the store of a signature with this timestamp has to bring: the rest stands beside the one or in the other.

    `evidence` is of the signer's path, `material` of the authority's (EN 319 142-1 clause 6.3, r and s).
    """
    return evidence.beside(order.chain) + material.beside(token.carried)


def no_room() -> Unavailable:
    """A token did not fit a second time, in the room that was made for it."""
    return Unavailable(
        "signature-room",
        found="a signature or timestamp token larger than the room reserved for it, twice",
        expected="tokens of a steady size",
        remedy="nothing was released; it is tried again",
    )


def no_end() -> Unavailable:
    """Each document timestamp was by a certificate whose material was not in the file yet, or did not fit."""
    return Unavailable(
        "timestamp-authority-unsteady",
        found=f"{CLOSING_TRIES} document timestamps, each by a certificate without status in the file, or too large",
        expected="an authority that signs with few certificates",
        remedy="nothing was released; use another authority",
    )


def not_ours(found: str, expected: str) -> Refused:
    """What was written is not what was ordered."""
    return Refused(
        "self-check",
        found=found,
        expected=expected,
        remedy="nothing was released; report this as a fault of the signer, or bind the right certificate",
    )
