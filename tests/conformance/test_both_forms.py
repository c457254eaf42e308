"""The signer's inner loop, compiled and interpreted: the same octets for an order, the same words for a refusal."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from bench import signing_world
from services.signer.compilation import ROOT, SWITCH, fitting
from tests.fuzz.mutants import mutant
from tests.support import one_form, pdfs, two_readings

MUTANTS = 200


def documents() -> dict[str, bytes]:
    """Sound files of every maker, files that must be refused, files with two readings."""
    found = {f"good {name}": pdf for name, pdf in pdfs.good().items()}
    found |= {f"bad {name}": pdf for name, (pdf, _) in pdfs.bad().items()}
    return found | {f"two {name}": two_readings.made(name) for name in (*two_readings.KINDS, *two_readings.UNSEEN)}


def run(form: str, world: Path, folder: Path) -> dict[str, str]:
    """What a process of this form makes of the documents."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.one_form", str(world), str(folder)],
        cwd=ROOT, env=os.environ | {SWITCH: "required" if form == "compiled" else "no"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    said = json.loads(done.stdout)
    assert said["form"] == form
    return dict(said["found"])


@pytest.mark.timeout(300)
def test_both_forms_make_the_same(tmp_path):
    """Damaged files come from sound ones; no fault but a refusal with a reason leaves either form."""
    if not fitting(environment={}).compiled and os.environ.get(SWITCH) != "required":
        pytest.skip("not compiled from the sources as they are: make test-compiled")
    world, folder = tmp_path / "world", tmp_path / "documents"
    signing_world.make(world, "http://127.0.0.1:1")
    one_form.keys(world)
    folder.mkdir()
    sound = documents()
    for name, pdf in sound.items():
        (folder / name.replace("/", " ")).write_bytes(pdf)
    seeds = {name: pdf for name, pdf in sound.items() if name.startswith("good") and len(pdf) < 100_000}
    for number in range(MUTANTS):
        made = mutant(seeds, sorted(seeds), random.Random(number))
        (folder / f"mutant {number} of {made.seed}").write_bytes(made.data)
    compiled, interpreted = run("compiled", world, folder), run("interpreted", world, folder)
    assert {name: (compiled[name], said) for name, said in interpreted.items() if compiled[name] != said} == {}
    assert compiled.keys() == interpreted.keys()
    assert {name: said for name, said in interpreted.items() if said.startswith("!")} == {}
    kinds = [said.split(":")[0] for said in interpreted.values()]
    assert kinds.count("declined") > 100
    assert sum(len(kind) == 64 for kind in kinds) > 500
