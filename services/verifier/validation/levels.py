"""The baseline level that a signature reaches by what the file holds (EN 319 142-1 clause 6); trust plays no part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.verifier.model import CheckFinding, notice, passed
from services.verifier.pdf.document import SecurityStore
from services.verifier.release import LEVELS
from services.verifier.validation.certificates import Certificate
from services.verifier.validation.revocation import Standing
from services.verifier.validation.tokens import Token

_CLAUSE = "ETSI EN 319 142-1 6.3"


@dataclass(frozen=True)
class Reached:
    """The level, none below B, and its row."""

    level: str | None
    row: CheckFinding


def reached(
    signer: Certificate,
    standing: Standing,
    tokens: Sequence[Token],
    stores: Sequence[SecurityStore],
    after: Sequence[tuple[Token, int]],
    *,
    revision: int | None,
    missing: str | None,
) -> Reached:
    """The level of one signature of `revision`.

    `tokens` are its signature timestamps, `after` the document timestamps over it with their revisions, `missing` what
    it lacks for B. Its validation data (its chain, the TSA's chain, all but roots) must stand in a DSS written in a
    revision after it, and for LTA a document timestamp in that revision or later.
    """
    if missing is not None:
        return Reached(None, notice("level", _CLAUSE, missing))
    stamped = [token for token in tokens if token.imprint_ok]
    level = 1 if stamped or after else 0
    signers = [signer, *(token.signer for token in stamped if token.signer)]
    if not stamped:
        signers += [token.signer for token, _ in after[:1] if token.signer]
    for store in stores:
        if level < 1 or revision is None or store.revision <= revision or not _holds(store, signers, standing):
            continue
        level = max(level, 2)
        if any(where >= store.revision for _, where in after):
            level = 3
    return Reached(LEVELS[level], passed("level", _CLAUSE, level=LEVELS[level]))


def _holds(store: SecurityStore, signers: list[Certificate], standing: Standing) -> bool:
    """Whether this DSS holds status data for every certificate of the signers' chains but the roots."""
    for signer in signers:
        for certificate in standing.paths.chain(signer):
            if certificate.self_issued or standing.paths.is_anchor(certificate):
                break
            if not standing.has_evidence(certificate, store.ocsps, store.crls):
                return False
        else:
            return False
    return True
