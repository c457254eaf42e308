"""What must hold for every mutant, decided from its bytes alone and without any code of the verifier."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from services.verifier.model import FileReport, Integrity, Verdict
from tests.fuzz.mutants import Mutant
from tests.fuzz.seeds import RANGE, Signed, covered, gap


def forged(mutant: Mutant, report: FileReport, signed: Mapping[str, Signed]) -> str | None:
    """Why this report calls something good that nobody signed; none when it does not.

    Nobody here has a key, so whatever is called intact must be, byte for byte, what a signer of a seed signed, with the
    signer's own value beside it. Damage elsewhere (the zeros that pad /Contents, later revisions) may pass.
    """
    if mutant.attack and (report.integrity is Integrity.INTACT or report.verdict is Verdict.PASSED):
        return "a page repainted after signing is called intact"
    intact = [one for one in report.signatures if one.integrity is Integrity.INTACT or one.verdict is Verdict.PASSED]
    stamps = [one for one in report.timestamps if one.integrity is Integrity.INTACT or one.verdict is Verdict.PASSED]
    if not intact and not stamps:
        good = report.integrity is Integrity.INTACT or report.verdict is Verdict.PASSED
        return "the file is called good, and nothing in it is" if good else None
    true = _true(mutant.data, signed)
    for one in intact:
        if one.signed_octets not in true:
            return f"{one.field} is called intact up to octet {one.signed_octets}, and nobody signed that"
    if len(true) < len(intact) + len(stamps):
        return f"{len(intact) + len(stamps)} signatures and timestamps are called intact; true are {len(true)}"
    return None


def _true(data: bytes, signed: Mapping[str, Signed]) -> set[int]:
    """The ends of signed parts that are, with their value, as a signer made them."""
    found = set()
    for match in RANGE.finditer(data):
        content = covered(data, match)
        original = signed.get(hashlib.sha256(content).hexdigest()) if content is not None else None
        if original is not None and original.value in gap(data, match):
            found.add(int(match[3]) + int(match[4]))
    return found
