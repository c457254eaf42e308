"""Comparing names: what a certificate says against what the authority verified, and the bounds of X.509."""

from __future__ import annotations

import unicodedata
from enum import StrEnum

from events.errors import Refused

UPPER_BOUND = 64
"""Characters of CN and O (RFC 5280 appendix A, ub-common-name, ub-organization-name)."""


class Match(StrEnum):
    """How two names agree."""

    EXACT = "exact"
    EQUIVALENT = "equivalent-without-tone-marks"
    MISMATCH = "mismatch"


def compare(one: str, other: str) -> Match:
    """Compare after NFC, case folding and white space; then, as a weaker result, without diacritics."""
    if _plain(one) == _plain(other):
        return Match.EXACT
    if _bare(one) == _bare(other):
        return Match.EQUIVALENT
    return Match.MISMATCH


def fits(name: str, what: str) -> None:
    """Check the bound of a name in a certificate; names are never cut.

    Raises:
        Refused: `name-too-long`; the message does not repeat the name.
    """
    if not 1 <= len(name) <= UPPER_BOUND:
        raise Refused(
            "name-too-long",
            found=f"{what} of {len(name)} characters",
            expected=f"1 to {UPPER_BOUND} characters (RFC 5280 appendix A)",
            remedy="agree on a registered short name with the holder; names are never cut",
        )


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _bare(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", _plain(name).replace("đ", "d"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
