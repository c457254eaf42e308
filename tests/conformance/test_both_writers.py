"""Both writers on documents of every shape: our verifier, pyHanko, poppler and an outside judge find no difference."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from shapes import Shape, render, shapes
from signer_world import Desk, desk, order

from events.errors import Refused
from events.values import BaselineLevel
from services.runtime.clock import SystemClock
from services.signer.adapters.fast.syntax import Declined
from services.signer.adapters.fast.writer import FastWriter
from services.signer.adapters.pyhanko_writer import PyhankoWriter
from services.signer.model import Certify, SigningAlgorithm
from services.verifier.engine import examine
from tests.support.judges import SHARED, judge, passes_at_pyhanko, poppler_says

CORPUS = SHARED / "corpus"
EXAMPLES = int(os.environ.get("ANTIN_SHAPES", "30"))
"""More of them: ANTIN_SHAPES=1000, which takes a quarter of an hour."""
DECLINED = {
    "a cross-reference table without a trailer",
    "certified without changes",
    "an object that is defined again behind the place that its cross-reference gives",
    "no cross-reference section where one is expected",
    "no startxref at the end",
    "permissions of an unknown kind",
}
"""Why documents of the corpus are left to the other writer."""
WRITERS = {"fast": FastWriter, "pyhanko": PyhankoWriter}


@dataclass
class Bench:
    """A desk with two signers, and the files that wait for the outside judge."""

    at: Desk
    folder: Path
    parties: list[Any]
    checks: list[Any]
    files: dict[str, dict[str, Path]] = field(default_factory=dict)

    async def sign(self, base: bytes, orders: list[dict[str, Any]]) -> dict[str, bytes]:
        """What each writer makes of the document, signed by one order after the other."""
        made = {}
        for kind, writer in WRITERS.items():
            pdf = base
            for index, said in enumerate(orders):
                party, check = self.parties[index % 2], self.checks[index % 2]
                one = order(pdf, check.path, party.credential, party.algorithm, index=index, **said)
                pdf = (await writer(self.at.keys, self.at.authority, self.at.status).sign(pdf, one, check.evidence)).pdf
            made[kind] = pdf
        return made

    async def attempt(self, kind: str, base: bytes, said: dict[str, Any]) -> bytes | str:
        """The signed document, or why there is none."""
        party, check = self.parties[0], self.checks[0]
        ordered = order(base, check.path, party.credential, party.algorithm, **said)
        writer = WRITERS[kind](self.at.keys, self.at.authority, self.at.status)
        try:
            return (await writer.sign(base, ordered, check.evidence)).pdf
        except Declined as fault:
            return fault.why
        except Refused as fault:
            return fault.code

    def keep(self, name: str, made: dict[str, bytes]) -> dict[str, Path]:
        """Put the files where the other judges can read them."""
        number = len(self.files)
        paths = {kind: self.folder / f"{number}.{kind}.pdf" for kind in made}
        for kind, pdf in made.items():
            paths[kind].write_bytes(pdf)
        self.files[name] = paths
        return paths

    @property
    def root(self) -> bytes:
        return self.at.world.root.certificate.public_bytes(Encoding.PEM)


@contextmanager
def bench(folder: Path) -> Iterator[tuple[asyncio.Runner, Bench]]:
    """A bench whose work is run from outside a loop, as hypothesis needs it."""
    with asyncio.Runner() as runner:
        opened = desk(folder)
        at = runner.run(opened.__aenter__())
        try:
            parties = [runner.run(at.party(one)) for one in (SigningAlgorithm.P256, SigningAlgorithm.RSA_3072_PKCS1)]
            checks = [runner.run(at.status.check(party.chain)) for party in parties]
            yield runner, Bench(at, folder, parties, checks)
        finally:
            runner.run(opened.__aexit__(None, None, None))


def ours(pdf: bytes, root: bytes) -> list[Any]:
    """What our verifier says, without times and octets."""
    report = examine(pdf, file="x", anchors=[root], now=SystemClock().now())
    found: list[Any] = [report.integrity.value, [one.verdict.value for one in report.timestamps]]
    for one in report.signatures:
        changes = sorted(change.what for change in one.changes if not change.allowed)
        found.append((one.field, one.kind, one.integrity.value, one.verdict.value, one.level, changes))
    return found


def outside(line: dict[str, Any]) -> Any:
    """What the outside judge says, without names and times; the level of a signature that does not pass is none.

    It calls a stranger's signature LT instead of T where our store happens to hold a certificate.
    """
    signatures = []
    for one in line.get("signatures", []):
        level = one["level"] if one["indication"] == "TOTAL_PASSED" else None
        signatures.append((level, one["indication"], one.get("sub_indication"), one["intact"], one["valid"]))
    return line.get("strict_ok"), line.get("error"), signatures


ORDERS = st.lists(
    st.fixed_dictionaries({"level": st.sampled_from(BaselineLevel), "stamped": st.booleans()}), min_size=1, max_size=2
)


def test_documents_of_every_shape(tmp_path):
    """ISO 32000-2 clause 7.5; ETSI EN 319 142-1 clause 6.3: what one writer may sign, the other signs as well."""
    with bench(tmp_path) as (runner, at):

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(shapes(), ORDERS, st.booleans())
        def each(shape: Shape, orders: list[dict[str, Any]], certify: bool) -> None:
            note(str(shape))
            base = render(shape)
            slots = ("buyer", "witness")
            said = [one | {"slot": slot} for one, slot in zip(orders, slots, strict=False)]
            if certify:
                said[0]["certify"] = Certify.FORMS
            made = runner.run(at.sign(base, said))
            found = {kind: ours(pdf, at.root) for kind, pdf in made.items()}
            assert found["fast"] == found["pyhanko"]
            assert found["fast"][0] == "intact"
            # What comes later may lift what was signed before: a document timestamp covers it all.
            assert found["fast"][-1][4] == said[-1]["level"].value
            paths = at.keep(f"{shape} {said}", made)
            assert poppler_says(paths["fast"]) == poppler_says(paths["pyhanko"])
            if all(one["level"] is BaselineLevel.LTA for one in said):
                assert runner.run(passes_at_pyhanko(made["fast"], at.at.world.root.der)) == len(said)

        each()
        assert judged_equal(at, tmp_path) == {}


def judged_equal(at: Bench, folder: Path) -> dict[str, Any]:
    """The outside judge's answers that differ between the two writers."""
    lines = judge(folder, at.root, [path for paths in at.files.values() for path in paths.values()])
    differ = {}
    for name, paths in at.files.items():
        said = {kind: outside(lines[path.name]) for kind, path in paths.items()}
        if said["fast"] != said["pyhanko"]:
            differ[name] = said
    return differ


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_documents_of_public_suites(tmp_path):
    """Files of other makers, most of them signed: our signature is added to both, and both are judged alike.

    What the fast writer declines has a reason, and is signed or refused by the other.
    """
    manifest = CORPUS / "manifest.json"
    if not manifest.exists():
        pytest.skip(f"no corpus at {CORPUS}")
    said = {"slot": "added", "level": BaselineLevel.LTA}
    reasons, wrong = set(), {}
    with bench(tmp_path) as (runner, at):
        for entry in json.loads(manifest.read_text(encoding="utf-8")):
            base = (CORPUS / entry["file"]).read_bytes()
            made = {kind: runner.run(at.attempt(kind, base, said)) for kind in WRITERS}
            signed = {kind: pdf for kind, pdf in made.items() if isinstance(pdf, bytes)}
            if "fast" not in signed:
                reasons.add(made["fast"])
            elif "pyhanko" not in signed:
                wrong[entry["file"]] = made["pyhanko"]
            found = {kind: ours(pdf, at.root) for kind, pdf in signed.items()}
            added = [row for rows in found.values() for row in rows[2:] if row[0] == "added"]
            sound = not entry["expected"]["must_reject"]
            # An attacked file is what it was: to whom its parts are ambiguous, so are they under our signature.
            if sound and [(row[2], row[4]) for row in added] != [("intact", "PAdES-BASELINE-LTA")] * len(signed):
                wrong[entry["file"]] = added
            if len(signed) == 2:
                paths = at.keep(entry["file"], signed)
                if found["fast"] != found["pyhanko"] or poppler_says(paths["fast"]) != poppler_says(paths["pyhanko"]):
                    wrong[entry["file"]] = found
        wrong |= judged_equal(at, tmp_path)
    assert wrong == {}
    assert reasons <= DECLINED
