"""A short hunt of every test run; and that the hunt finds a judge that believes, falls, hangs or dies."""

from __future__ import annotations

import os
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.verifier.model import FileReport, Integrity
from tests.fuzz import der, hunt, mutants, seeds

FEW = 240


@pytest.fixture(scope="module")
def made() -> seeds.Seeds:
    return seeds.read(seeds.VECTORS)


def test_a_few_hundred_mutants_are_stood(made, tmp_path):
    """verification.md: no foreign exception, no hang, and nothing called intact that nobody signed."""
    tally = hunt.hunt(made, FEW, seed=7, workers=2, folder=tmp_path, sandboxed=FEW // 2)
    assert not tally.findings, f"{tally.findings}; the mutants are in {tmp_path}"
    assert (tally.judged, tally.sandboxed) == (FEW, 2)
    assert len(tally.edits) == len(mutants.EDITS) + 1, "every edit was used, and the attack too"
    assert len(tally.verdicts) >= 4, "mutants that are all refused at the door test nothing behind it"


async def test_the_seeds_themselves_are_good(made):
    """Each seed is intact and is what its signers signed, so that a mutant called broken says something."""
    for name, data in made.files.items():
        report = hunt.examine(data, file=name, anchors=made.anchors, now=made.now, extra=made.brought)
        assert report.integrity is Integrity.INTACT, (name, report.findings)
        untouched = mutants.Mutant(data, name, ())
        assert hunt.forged(untouched, report, made.signed()) is None, name


def believing(data: bytes, **_: object) -> FileReport:
    """Calls every file what its seed was: intact."""
    return REPORT.model_copy(update={"integrity": Integrity.INTACT})


def falling(data: bytes, **_: object) -> FileReport:
    raise KeyError("/Root")


def hanging(data: bytes, **_: object) -> FileReport:
    time.sleep(30)
    return REPORT


def dying(data: bytes, **_: object) -> FileReport:
    os._exit(9)


def slow(data: bytes, **_: object) -> FileReport:
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    return REPORT


REPORT = FileReport(file="x", judged_at="2026-01-01T00:00:00Z", integrity=Integrity.UNREADABLE)


@pytest.mark.parametrize(
    ("judge", "kind"),
    [(believing, "forged"), (falling, "exception"), (hanging, "hang"), (dying, "crash"), (slow, "slow")],
)
def test_a_bad_judge_is_found(made, tmp_path, monkeypatch, judge, kind):
    monkeypatch.setattr(hunt, "examine", judge)
    monkeypatch.setattr(hunt, "PROCESSOR_SECONDS", 0.04)
    if kind == "hang":
        monkeypatch.setattr(hunt, "HANG_SECONDS", 1.0)
    tally = hunt.hunt(made, 3, seed=1, workers=1, folder=tmp_path, sandboxed=0)
    assert tally.judged == 3
    assert tally.findings.total() == 3
    assert all(told.startswith(f"{kind}: ") for told in tally.findings)
    assert list(tmp_path.glob(f"{kind}-1-*.pdf"))


def test_a_signature_moved_to_other_bytes_is_found(made):
    """The oracle of the hunt itself: the report of the true file does not pass for a changed one."""
    data = made.files["b"]
    report = hunt.examine(data, file="b", anchors=made.anchors, now=made.now, extra=made.brought)
    signed = made.signed()
    changed = data.replace(b"A contract", b"B contract")
    assert changed != data
    assert hunt.forged(mutants.Mutant(changed, "b", ()), report, signed)
    last = data.lower().index(seeds.originals(data)[0].value.hex().encode()) + 2 * len(seeds.originals(data)[0].value)
    other = data[: last - 1] + (b"0" if data[last - 1 : last] != b"0" else b"1") + data[last:]
    assert hunt.forged(mutants.Mutant(other, "b", ()), report, signed)


async def test_what_is_made_anew_for_a_long_hunt_is_good_too():
    fresh = seeds.make()
    assert len(fresh.files) > 20
    for name in ("b", "two", "three-lta"):
        report = hunt.examine(fresh.files[name], file=name, anchors=fresh.anchors, now=fresh.now, extra=fresh.brought)
        assert report.integrity is Integrity.INTACT


def test_a_number_makes_the_same_mutant_again(made):
    assert hunt.made(made, 1, 5) == hunt.made(made, 1, 5)
    assert hunt.made(made, 1, 5) != hunt.made(made, 2, 5)


@given(st.binary(max_size=200), st.integers())
def test_an_edit_of_der_keeps_its_length(data, seed):
    assert len(der.edited(data, random.Random(seed))) == len(data)


@given(st.binary(max_size=300), st.integers(), st.sampled_from(mutants.EDITS))
def test_every_edit_takes_any_bytes(data, seed, edit):
    assert isinstance(edit(data, random.Random(seed)), bytes)
