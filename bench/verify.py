"""How many signed PDFs a second does one processor verify, beside others in the same run?

Usage: python -m bench.verify [--rounds N] [--warm SECONDS]. Five documents, each through every implementation in turn,
round after round, so that a busy moment strikes all alike; the figure is the median of the rounds, in milliseconds of
processor for one document. All are offline, trust one root and are given the same two CRLs. What each does is in
`WORK`: the work is not equal, and `said` tells what each concluded.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import io
import logging
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path

from bench.peers.dss import VERSION as DSS
from bench.peers.dss import Dss
from bench.peers.pyhanko_validation import Pyhanko
from bench.table import publish
from tools.real.child import NotHere, run, say

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import pdfs
from forge import Forge
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from signer_world import desk

from events.values import BaselineLevel
from services.runtime.clock import SystemClock
from services.signer.model import SigningAlgorithm
from services.verifier.engine import examine
from services.verifier.model import Brought, FileReport
from services.verifier.sandbox import Sandbox, question
from services.verifier.tasks import judge as judge_task

OURS = "antin, engine one"
WORK = {
    OURS: "bytes, every revision, path and CRLs of signers and timestamp authorities, timestamps in order, the report",
    "antin, both engines": "engine one, and then engine two (pyHanko), as the gate wants it",
    "antin, sandbox, engine one": "engine one in a process of its own per file, forked, confined and ended",
    "antin, sandbox, all engines": "the whole call of the service: sandbox, engine one, engine two, the third opinion",
    "pyHanko validate_pdf_signature": "digest, value, path and CRLs, timestamps, what later revisions did",
    "pyHanko ades_lta_validation": "the same, and the past by document timestamps (EN 319 102-1 5.6); signatures only",
    "endesive": "digest and value only: no path, no revocation, no timestamps, no later revisions",
    "pdfsig": "digest and value; no path (-nocert), no revocation, no document timestamps; starts anew for each file",
    "EU DSS": "EN 319 102-1 with all its reports; renders pages to compare revisions; a warm JVM",
}
TARGETS = (
    ("B-B small", "pyHanko validate_pdf_signature", 10.0),
    ("B-LTA small", "pyHanko ades_lta_validation", 10.0),
)
BOXED = 20
"""Repetitions in the sandbox, since the kernel counts other processes in hundredths of a second."""
Run = Callable[[Path, bytes], tuple[float, float, str]]
"""(milliseconds of processor, of the clock, what it concluded) for one document."""


@dataclass(frozen=True)
class Material:
    """The files by name (level, octets), and what all are judged with."""

    files: dict[str, tuple[str, bytes]]
    anchors: tuple[bytes, ...]
    brought: Brought
    now: datetime


class _SamePki(Forge):
    """The forge's pen with a PKI that exists already."""

    def __post_init__(self) -> None:
        """Make no other."""


async def documents(folder: Path) -> Material:
    """Signed by the product's own writer, over HTTP from the toy authorities; P-256 signers, RSA authorities."""
    async with desk(folder) as at:
        small, party = pdfs.minimal(), await at.party(SigningAlgorithm.P256)
        five = small
        for index in range(5):
            five = await party.sign(five, f"party-{index}", index, level=BaselineLevel.T)
        files = {
            "B-B small": ("B-B", await party.sign(small, level=BaselineLevel.B)),
            "B-T small": ("B-T", await party.sign(small, level=BaselineLevel.T)),
            "B-LTA small": ("B-LTA", await party.sign(small, level=BaselineLevel.LTA)),
            "B-T 2 MB, 30 pages": ("B-T", await party.sign(_thirty_pages(), level=BaselineLevel.T)),
            "B-T, 5 signatures": ("B-T", five),
        }
        now = SystemClock().now()
        brought = _SamePki(at.world, now).evidence()
        return Material(files, (at.world.root.der,), brought, now)


def _thirty_pages() -> bytes:
    out = io.BytesIO()
    canvas, chance = Canvas(out), random.Random(1)
    for page in range(30):
        noise = Image.frombytes("RGB", (150, 150), chance.randbytes(150 * 150 * 3))
        canvas.drawImage(ImageReader(noise), 50, 50)
        canvas.drawString(50, 800, f"Page {page + 1}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _timed(work: Callable[[bytes], str]) -> Run:
    """In this process, often enough for the clock to be fine."""

    def run(_: Path, data: bytes) -> tuple[float, float, str]:
        processor, clock, often = time.process_time(), time.perf_counter(), 0
        while often < 3 or time.process_time() - processor < 0.1:
            said = work(data)
            often += 1
        spent, took = time.process_time() - processor, time.perf_counter() - clock
        return spent / often * 1000, took / often * 1000, said

    return run


def _pdfsig(path: Path, _: bytes) -> tuple[float, float, str]:
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(["pdfsig", "-nocert", str(path)], capture_output=True, text=True, check=False, timeout=60)
    took, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    good = done.stdout.count("Signature is Valid")
    return spent * 1000, took * 1000, f"{good} valid"


def _endesive() -> Callable[[bytes], str]:
    """endesive's check of digest and value, as the verifier's third opinion has it.

    Raises:
        NotHere: it is not installed and cannot be.
    """
    if importlib.util.find_spec("endesive") is None:
        folder = Path("var/peers/endesive").resolve()
        if not (folder / "endesive").is_dir():
            say(f"Fetching endesive into {folder} ...")
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
            command += ["--require-hashes", "-r", "requirements/opinions.lock", "--target", str(folder)]
            run(command, what="fetching endesive", timeout=300.0)
        sys.path.append(str(folder))
    from services.verifier.adapters import endesive_opinion

    if endesive_opinion.VERSION is None:
        raise NotHere("an endesive that cannot be imported", "one that can", "delete var/peers/endesive and repeat")

    def work(data: bytes) -> str:
        return "+".join(sorted({str(one.integrity) for one in endesive_opinion.opinions(data)}))

    return work


@contextmanager
def implementations(given: Material, folder: Path, warm: float) -> Iterator[tuple[dict[str, Run], dict[str, str]]]:
    """What can be measured here, and what cannot, with the reason."""
    brought, anchors, now = given.brought, given.anchors, given.now
    here: dict[str, Run] = {}
    missing: dict[str, str] = {}

    def one(data: bytes) -> str:
        report = examine(data, file="x.pdf", anchors=anchors, now=now, extra=brought)
        return report.verdict.value

    pyhanko = Pyhanko(anchors, brought.crls)
    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner())
        sandbox = Sandbox()
        stack.callback(lambda: loop.run(sandbox.close()))

        def boxed(data: bytes, *, both: bool) -> str:
            report = loop.run(sandbox.judge(data, file="x.pdf", anchors=anchors, now=now, brought=brought, both=both))
            return report.verdict.value

        asked = question("x.pdf", anchors, now, brought, others=("pyhanko",))

        def two(data: bytes) -> str:
            first, *others = judge_task(data, asked)
            assert len(others) == 1
            return FileReport.model_validate_json(first).verdict.value

        try:
            third = _endesive()
        except NotHere as fault:
            third, missing["endesive"] = None, str(fault)
        here[OURS] = _timed(one)
        here["antin, both engines"] = _timed(two)
        here["antin, sandbox, engine one"] = _boxed(partial(boxed, both=False), sandbox)
        here["antin, sandbox, all engines"] = _boxed(partial(boxed, both=True), sandbox)
        here["pyHanko validate_pdf_signature"] = _timed(pyhanko.validate_pdf_signature)
        here["pyHanko ades_lta_validation"] = _timed(pyhanko.ades_lta_validation)
        if third is not None:
            here["endesive"] = _timed(third)
        if shutil.which("pdfsig"):
            here["pdfsig"] = _pdfsig
        else:
            missing["pdfsig"] = "found no pdfsig; expected poppler's; sudo apt-get install poppler-utils"
        try:
            root, crls = folder / "root.der", [folder / f"{index}.crl" for index in range(len(brought.crls))]
            root.write_bytes(anchors[0])
            for path, data in zip(crls, brought.crls, strict=True):
                path.write_bytes(data)
            dss = stack.enter_context(Dss(root, crls))
            say(f"Warming EU DSS for {warm:.0f} s ...")
            dss.validate(folder / "B-LTA small.pdf", 1, warm=warm)
            here["EU DSS"] = lambda path, _: dss.validate(path, 5)
        except NotHere as fault:
            missing["EU DSS"] = str(fault)
        yield here, missing


def _boxed(work: Callable[[bytes], str], sandbox: Sandbox) -> Run:
    """For the sandbox: the processor time of this process, of the warm parent and of its children that have ended."""

    def used() -> float:
        fields = Path(f"/proc/{sandbox.pid}/stat").read_text().rpartition(")")[2].split()
        return time.process_time() + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def run(_: Path, data: bytes) -> tuple[float, float, str]:
        said = work(data)
        processor, clock = used(), time.perf_counter()
        for _again in range(BOXED):
            said = work(data)
        took = time.perf_counter() - clock
        return (used() - processor) / BOXED * 1000, took / BOXED * 1000, said

    return run


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="each round measures everything once (default 7)")
    parser.add_argument("--warm", type=float, default=25.0, help="seconds a JVM is warmed (default 25)")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        given = asyncio.run(documents(folder / "signer"))
        files = given.files
        for name, (_, data) in files.items():
            (folder / f"{name}.pdf").write_bytes(data)
        spent: dict[tuple[str, str], list[float]] = {}
        took: dict[tuple[str, str], list[float]] = {}
        said: dict[tuple[str, str], str] = {}
        with implementations(given, folder, asked.warm) as (here, missing):
            for turn in range(asked.rounds + 1):  # the first is not counted
                for name, (_, data) in files.items():
                    for impl, run in here.items():
                        processor, clock, said[impl, name] = run(folder / f"{name}.pdf", data)
                        if turn:
                            spent.setdefault((impl, name), []).append(processor)
                            took.setdefault((impl, name), []).append(clock)
                say(f"round {turn} of {asked.rounds}" if turn else "first round, not counted")
    _publish(files, spent, took, said, missing, asked.rounds)


def _publish(
    files: dict[str, tuple[str, bytes]],
    spent: dict[tuple[str, str], list[float]],
    took: dict[tuple[str, str], list[float]],
    said: dict[tuple[str, str], str],
    missing: dict[str, str],
    rounds: int,
) -> None:
    middle = {key: statistics.median(each) for key, each in spent.items()}
    versions = {"pyHanko": metadata.version("pyhanko"), "EU DSS": DSS}
    if "endesive" not in missing:
        versions["endesive"] = metadata.version("endesive")
    rows = [
        {
            "impl": impl,
            "document": name,
            "level": files[name][0],
            "octets": len(files[name][1]),
            "ms": round(ms, 3),
            "clock_ms": round(statistics.median(took[impl, name]), 3),
            "per_second": round(1000 / ms, 1) if ms else None,
            "ratio": round(ms / middle[OURS, name], 2),
            "said": said[impl, name],
        }
        for (impl, name), ms in middle.items()
    ]
    targets = [
        {
            "document": name,
            "peer": peer,
            "wanted": f">= {least:.0f}x",
            "found": round(middle[peer, name] / middle[OURS, name], 1),
            "reached": middle[peer, name] >= least * middle[OURS, name],
        }
        for name, peer, least in TARGETS
        if (peer, name) in middle
    ]
    order = {name: index for index, name in enumerate(files)}
    shown = [
        (f"{row['document']}: {row['impl']}", float(row["ms"]), str(row["per_second"]), f"{row['ratio']}x", row["said"])
        for row in sorted(
            rows, key=lambda row: (order[str(row["document"])], middle[str(row["impl"]), str(row["document"])])
        )
    ]
    document = {
        "question": "verifications a second on one processor",
        "unit": "ms of processor for one document, median of the rounds",
        "rounds": rounds,
        "cores": os.cpu_count(),
        "versions": versions,
        "work": WORK,
        "missing": missing,
        "rows": rows,
        "targets": targets,
    }
    publish(
        "verify",
        "verifying one signed PDF",
        ("document: implementation", "ms", "per s", "x ours", "said"),
        shown,
        document,
    )
    for impl, work in WORK.items():
        print(f"  {impl}: {missing.get(impl) or work}")
    for one in targets:
        print(f"  {one['document']}: {one['found']}x {one['peer']}, wanted {one['wanted']}")


if __name__ == "__main__":
    main()
