"""31 signed, changed, broken and attacked PDFs of public suites, each with its right answer; and an outside judge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from services.runtime.clock import SystemClock
from services.verifier.engine import examine
from services.verifier.model import FileReport, Integrity, Verdict

SHARED = Path(os.environ.get("ANTIN_SHARED", Path(__file__).parents[3] / "shared"))
CORPUS = SHARED / "corpus"
JUDGE = SHARED / "judge" / "judge.sh"

KNOWN_WRONG: dict[str, str] = {}
"""Files that this engine judges wrongly, by the start of their digest, with the reason; a cure must be noticed."""

THE_OUTSIDE_JUDGE_IS_WRONG = {"afba3783": "calls both signature values wrong; the manifest, pyHanko and OpenSSL do not"}

pytestmark = pytest.mark.corpus


@cache
def entries() -> list[dict[str, Any]]:
    manifest = CORPUS / "manifest.json"
    return json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else []


def cases() -> list[Any]:
    if not entries():
        return [pytest.param(None, id="absent")]
    return [
        pytest.param(
            entry,
            id=f"{entry['sha256'][:8]}-{entry['expected']['verdict']}",
            marks=[pytest.mark.xfail(strict=True, reason=KNOWN_WRONG[entry["sha256"][:8]])]
            if entry["sha256"][:8] in KNOWN_WRONG
            else [],
        )
        for entry in entries()
    ]


async def judged(entry: dict[str, Any] | None) -> FileReport:
    if entry is None:
        pytest.skip(f"no corpus at {CORPUS}")
    data = (CORPUS / entry["file"]).read_bytes()
    return examine(data, file=entry["file"], anchors=[], now=SystemClock().now())


@pytest.mark.parametrize("entry", cases())
async def test_the_corpus_gets_its_right_answers(entry):
    report = await judged(entry)
    expected = entry["expected"]
    if expected["must_accept"]:
        assert report.integrity is Integrity.INTACT, entry["why"]
    if expected["must_reject"]:
        assert report.verdict is not Verdict.PASSED, entry["why"]
        assert report.integrity in (Integrity.CHANGED, Integrity.BROKEN), entry["why"]
    if expected["must_warn_changes"]:
        changes = [change for one in report.signatures for change in one.changes]
        assert changes, entry["why"]
        assert any(not change.allowed for change in changes) == expected["must_reject"]
    if expected.get("must_not_be_trusted"):
        assert not any(one.trusted for one in report.signatures)
    if expected.get("timestamp_must_not_be_trusted"):
        assert [one.timestamp_trusted for one in report.signatures] == [False]
    assert report.verdict is not Verdict.PASSED, "nothing is green without a trusted root"


@pytest.mark.judge
@pytest.mark.slow
def test_the_outside_judge_agrees_on_what_must_be_accepted():
    """The files that we must accept: the EU's library finds no wrong hash or value in them either, but for one."""
    if not entries() or not JUDGE.exists() or shutil.which("java") is None:
        pytest.skip(f"no corpus or no outside judge below {SHARED}")
    files = [str(CORPUS / entry["file"]) for entry in entries() if entry["expected"]["must_accept"]]
    done = subprocess.run(
        [str(JUDGE), "--no-network", *files], capture_output=True, text=True, check=False, timeout=110
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(files), done.stderr[-500:]
    failed = {
        Path(line["file"]).name[:8]
        for line in lines
        for one in line.get("signatures") or []
        if one.get("sub_indication") in ("HASH_FAILURE", "SIG_CRYPTO_FAILURE")
    }
    assert failed == set(THE_OUTSIDE_JUDGE_IS_WRONG)
