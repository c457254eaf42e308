"""The sandbox: bombs end within their limits with a reason, the judge has no secrets, and the next file is judged."""

from __future__ import annotations

import asyncio
import os
import sys
import zlib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge
from processes import gone
from waiting import until

from services.verifier.model import FileReport, Integrity, Verdict
from services.verifier.sandbox import Limits, Sandbox

FAST = Limits(cpu=4, wall=6.0, memory=400 * 1024 * 1024)


def _classic(objects: dict[int, bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (max(objects) + 1)
    for number in range(1, max(objects) + 1):
        out += b"%010d 00000 n \n" % places[number]
    return bytes(out + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (max(objects) + 1, start))


def endless_xref() -> bytes:
    """An xref stream of entries without width, 2^31 of them."""
    head = b"%PDF-1.5\n"
    stream = b"1 0 obj\n<</Type/XRef/W[0 0 0]/Size 2147483648/Root 2 0 R/Length 0>>\nstream\n\nendstream\nendobj\n"
    return head + stream + b"startxref\n%d\n%%%%EOF\n" % len(head)


def repeating_kids() -> bytes:
    """A form tree in which every node names the same child twice: 2^28 visits."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[10 0 R]/SigFlags 3>>>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
    }
    objects |= dict.fromkeys(range(4, 10), b"<<>>")
    for depth in range(28):
        number = 10 + depth
        objects[number] = b"<</T(f%d)/FT/Sig/Kids[%d 0 R %d 0 R]>>" % (depth, number + 1, number + 1)
    objects[38] = b"<</T(end)/FT/Sig/V<</Type/Sig/ByteRange[0 1 2 3]/Contents<00>>>>>"
    return _classic(objects)


def many_fields_one_signature() -> bytes:
    """2,000 fields that share one signature."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%s]/SigFlags 3>>>>"
        % b" ".join(b"%d 0 R" % number for number in range(5, 2005)),
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
        4: b"<</Type/Sig/SubFilter/ETSI.CAdES.detached/ByteRange[0 10 20 30]/Contents<3080>>>",
    }
    objects |= {number: b"<</T(f%d)/FT/Sig/V 4 0 R>>" % number for number in range(5, 2005)}
    return _classic(objects)


def deep_arrays() -> bytes:
    """Arrays nested 900 deep."""
    return _classic(
        {
            1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields " + b"[" * 900 + b"]" * 900 + b">>>>",
            2: b"<</Type/Pages/Kids[]/Count 0>>",
        }
    )


def inflating_stream() -> bytes:
    """An object stream of a few kilobytes that inflates to a gigabyte."""
    squeezer = zlib.compressobj(9)
    packed = b"".join(squeezer.compress(b"\0" * (1 << 20)) for _ in range(1024)) + squeezer.flush()
    head = b"%PDF-1.5\n"
    place = len(head)
    stream = (
        b"1 0 obj\n<</Type/XRef/W[1 2 1]/Size 5/Root 2 0 R/Filter/FlateDecode/Length %d>>\nstream\n" % len(packed)
        + packed
        + b"\nendstream\nendobj\n"
    )
    return head + stream + b"startxref\n%d\n%%%%EOF\n" % place


BOMBS = {
    "endless-xref": endless_xref,
    "repeating-kids": repeating_kids,
    "many-fields": many_fields_one_signature,
    "deep-arrays": deep_arrays,
    "inflating": inflating_stream,
}


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


async def judge(sandbox: Sandbox, forge: Forge, data: bytes | Path) -> FileReport:
    return await sandbox.judge(data, file="x.pdf", anchors=forge.anchors, now=forge.now, brought=forge.evidence())


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_is_answered_within_the_limits_and_the_next_file_is_judged(forge, bomb):
    """verification.md: CPU, wall clock, memory and output are bounded; whatever happens means "cannot be verified"."""
    good = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    async with Sandbox(FAST, workers=1) as sandbox, asyncio.timeout(40):
        report = await judge(sandbox, forge, BOMBS[bomb]())
        assert report.verdict is not Verdict.PASSED
        assert report.findings or report.signatures
        if report.integrity is Integrity.UNREADABLE:
            assert all(finding.reason for finding in report.findings)
        assert (await judge(sandbox, forge, good)).verdict is Verdict.PASSED


async def test_many_fields_with_one_value_are_one_signature(forge):
    async with Sandbox(FAST) as sandbox:
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
