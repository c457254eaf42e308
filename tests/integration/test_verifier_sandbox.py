"""The sandbox: bombs end within their limits with a reason, the judge has no secrets, and the next file is judged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from bombs import BOMBS, many_fields_one_signature
from forge import Forge
from processes import gone
from waiting import until

from services.verifier.model import FileReport, Integrity, Verdict
from services.verifier.sandbox import OTHERS, Limits, Sandbox, question


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


async def judge(sandbox: Sandbox, forge: Forge, data: bytes | Path) -> FileReport:
    return await sandbox.judge(data, file="x.pdf", anchors=forge.anchors, now=forge.now, brought=forge.evidence())


@pytest.fixture(scope="module")
def good(forge) -> bytes:
    return forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upload():
    """A sandbox as it stands behind the upload, with its limits as they are by default."""
    async with Sandbox(workers=1) as sandbox:
        yield sandbox


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_is_answered_within_10_seconds_and_512_mb_and_the_next_file_is_judged(upload, forge, good, bomb):
    """verification.md: CPU, wall clock, memory and output are bounded; whatever happens means "cannot be verified"."""
    async with asyncio.timeout(90):
        asked = question("bomb.pdf", forge.anchors, forge.now, forge.evidence(), others=OTHERS)
        ended = await upload.run("judge", BOMBS[bomb](forge), asked)
        assert ended.peak < 512 * 1024 * 1024
        assert ended.milliseconds < 10_000
        assert ended.parts, f"engine one has no answer: {ended.reason}"
        report = FileReport.model_validate_json(ended.parts[0])
        assert report.findings or report.signatures
        if bomb not in ("long-crl", "many-crls"):
            assert report.verdict is not Verdict.PASSED
        if report.integrity is Integrity.UNREADABLE:
            assert all(finding.reason for finding in report.findings)
        assert (await judge(upload, forge, good)).verdict is Verdict.PASSED


async def test_many_fields_with_one_value_are_one_signature(forge):
    async with Sandbox() as sandbox:
        report = await judge(sandbox, forge, many_fields_one_signature())
    assert len(report.signatures) == 1


async def test_a_file_beyond_the_size_limit_is_not_even_read(forge):
    async with Sandbox(Limits(size=1000)) as sandbox:
        report = await judge(sandbox, forge, b"%PDF-1.7\n" + b" " * 1000)
    assert [finding.reason for finding in report.findings] == ["too-large"]


async def test_a_report_beyond_the_output_limit_is_refused(forge):
    good = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    async with Sandbox(Limits(output=500)) as sandbox:
        report = await judge(sandbox, forge, good)
    assert [finding.reason for finding in report.findings] == ["report-too-long"]


async def test_the_judge_sees_no_environment_of_ours(forge, monkeypatch, tmp_path):
    """No secret reaches the process that reads what strangers send."""
    monkeypatch.setenv("ANTIN_SECRET_FOR_THIS_TEST", "hidden")
    async with Sandbox() as sandbox:
        await judge(sandbox, forge, pdfs.minimal())
        assert sandbox.pid is not None
        environment = await asyncio.to_thread(Path(f"/proc/{sandbox.pid}/environ").read_bytes)
    assert b"ANTIN_SECRET" not in environment
    assert b"HOME=" not in environment


async def test_a_killed_warm_parent_is_replaced(forge):
    async with Sandbox() as sandbox:
        await judge(sandbox, forge, pdfs.minimal())
        assert sandbox.pid is not None
        first = sandbox.pid
        os.kill(first, 9)
        await until(lambda: gone(first), what="the end of the warm parent")
        report = await judge(sandbox, forge, pdfs.minimal())
        assert report.integrity is Integrity.UNSIGNED
        assert sandbox.pid != first


async def test_files_are_judged_side_by_side_and_the_loop_runs_on(forge):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    good = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    ticking = asyncio.create_task(tick())
    async with Sandbox() as sandbox:
        reports = await asyncio.gather(*(judge(sandbox, forge, good) for _ in range(8)))
    ticking.cancel()
    assert [report.verdict for report in reports] == [Verdict.PASSED] * 8
    assert ticks > 5


async def test_a_judgement_is_given_up_when_the_asker_gives_up():
    async with Sandbox(Limits(cpu=20, wall=20), tasks="tests.support.hostile") as sandbox:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await sandbox.run("sleep", b"", {})
        assert (await sandbox.run("peek", b"1", {})).parts == (b"{}", b"1")
