"""Judges mutants in worker processes that may hang or die, and keeps the file of each finding."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from services.verifier.engine import examine
from services.verifier.model import FileReport
from services.verifier.sandbox import Limits, Sandbox
from tests.fuzz.mutants import Mutant, mutant
from tests.fuzz.oracles import forged
from tests.fuzz.seeds import Seeds

PROCESSOR_SECONDS = 5.0
"""A mutant that takes the judge longer is a finding; a limit, not an expectation."""
HANG_SECONDS = 60.0
"""On the clock, for a judge that does not even come back; wide, for machines that are busy."""
MEMORY = 2 << 30
KEPT = 3
"""Files kept of findings that look the same."""
SANDBOXED = 1000
"""One mutant of so many is also judged in the sandbox, where the answer must be the same."""


@dataclass
class Tally:
    """What came of it."""

    judged: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    sandboxed: int = 0
    slowest: float = 0.0
    processor: float = 0.0


@dataclass(frozen=True)
class Finding:
    """One mutant that the verifier does not stand."""

    kind: str
    """`exception`, `slow`, `forged`, `sandbox`, `hang`, `crash`"""
    index: int
    alike: str
    """The same for findings that have the same cause, probably."""
    told: str


def made(seeds: Seeds, seed: int, index: int) -> Mutant:
    """The mutant of this number: always the same with the same seeds."""
    return mutant(seeds.files, sorted(seeds.files), random.Random(f"{seed}/{index}"))


def examined(seeds: Seeds, signed: Any, one: Mutant, index: int) -> tuple[FileReport | None, Finding | None, float]:
    """Judge one mutant in this process: the report, what is wrong with it, and the seconds of processor."""
    began = time.process_time()
    try:
        report = _judged(one.data, seeds)
    except BaseException as fault:  # noqa: BLE001 - that is the question
        spent = time.process_time() - began
        last = traceback.extract_tb(fault.__traceback__)[-1]
        alike = f"{type(fault).__name__} {Path(last.filename).name}:{last.name}"
        return None, Finding("exception", index, alike, traceback.format_exc()[-4000:]), spent
    spent = time.process_time() - began
    why = forged(one, report, signed)
    if why is not None:
        return report, Finding("forged", index, f"{'+'.join(one.edits)}", why), spent
    if spent > PROCESSOR_SECONDS:
        return report, Finding("slow", index, one.seed, f"{spent:.1f} s of processor"), spent
    return report, None, spent


def _judged(data: bytes, seeds: Seeds) -> FileReport:
    return examine(data, file="mutant.pdf", anchors=seeds.anchors, now=seeds.now, extra=seeds.brought)


def hunt(
    seeds: Seeds,
    count: int,
    *,
    seed: int,
    workers: int,
    folder: Path,
    sandboxed: int = SANDBOXED,
    told: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Judge `count` mutants; ends by itself, whatever they do."""
    tally = Tally()
    context = multiprocessing.get_context("fork")
    places = context.Array("d", workers * 2)
    lines: dict[int, tuple[Any, Connection]] = {}
    kept: Counter[str] = Counter()

    def start(worker: int, first: int) -> None:
        ours, theirs = context.Pipe(duplex=False)
        arguments = (seeds, seed, worker, range(first, count, workers), theirs, places, sandboxed)
        process = context.Process(target=_work, args=arguments, daemon=True)
        places[worker * 2], places[worker * 2 + 1] = first, time.monotonic()
        process.start()
        theirs.close()
        lines[worker] = (process, ours)

    def keep(finding: Finding) -> None:
        alike = f"{finding.kind}: {finding.alike}"
        tally.findings[alike] += 1
        kept[alike] += 1
        if kept[alike] <= KEPT:
            one = made(seeds, seed, finding.index)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{finding.kind}-{seed}-{finding.index}.pdf"
            path.write_bytes(one.data)
            path.with_suffix(".txt").write_text(f"{alike}\nseed {one.seed}, edits {one.edits}\n\n{finding.told}\n")

    for worker in range(min(workers, count)):
        start(worker, worker)
    while lines:
        ready = wait([line for _, line in lines.values()], timeout=1.0)
        for worker, (process, line) in list(lines.items()):
            if line in ready:
                try:
                    message = line.recv()
                except EOFError:
                    message = None
                if isinstance(message, Finding):
                    keep(message)
                    continue
                if isinstance(message, Tally):
                    _add(tally, message)
                    told(tally)
                    continue
                process.join()
                index = int(places[worker * 2])
                line.close()
                del lines[worker]
                if process.exitcode != 0:
                    keep(
                        Finding(
                            "crash", index, f"exit {process.exitcode}", f"the process ended with {process.exitcode}"
                        )
                    )
                    tally.judged += 1
                    if index + workers < count:
                        start(worker, index + workers)
            elif time.monotonic() - places[worker * 2 + 1] > HANG_SECONDS:
                index = int(places[worker * 2])
                process.kill()
                process.join()
                line.close()
                del lines[worker]
                keep(Finding("hang", index, made(seeds, seed, index).seed, f"no end after {HANG_SECONDS:.0f} s"))
                tally.judged += 1
                if index + workers < count:
                    start(worker, index + workers)
    return tally


def _add(tally: Tally, more: Tally) -> None:
    tally.judged += more.judged
    tally.verdicts.update(more.verdicts)
    tally.edits.update(more.edits)
    tally.sandboxed += more.sandboxed
    tally.slowest = max(tally.slowest, more.slowest)
    tally.processor += more.processor


def _work(seeds: Seeds, seed: int, worker: int, indices: range, line: Connection, places: Any, sandboxed: int) -> None:
    import logging
    import warnings

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signed = seeds.signed()
    tally, since = Tally(), time.monotonic()
    for index in indices:
        places[worker * 2], places[worker * 2 + 1] = index, time.monotonic()
        one = made(seeds, seed, index)
        report, finding, spent = examined(seeds, signed, one, index)
        if finding is None and report is not None and sandboxed and index % sandboxed == 0:
            tally.sandboxed += 1
            finding = asyncio.run(_boxed(seeds, one, report, index))
        tally.judged += 1
        tally.verdicts[f"{report.integrity}, {report.verdict}" if report else "none"] += 1
        tally.edits.update(one.edits)
        tally.slowest, tally.processor = max(tally.slowest, spent), tally.processor + spent
        if finding is not None:
            line.send(finding)
        if time.monotonic() - since > 2:
            line.send(tally)
            tally, since = Tally(), time.monotonic()
    line.send(tally)
    line.close()


async def _boxed(seeds: Seeds, one: Mutant, report: FileReport, index: int) -> Finding | None:
    """The same mutant in the sandbox: the same answer."""
    async with Sandbox(Limits(cpu=20, wall=50.0)) as sandbox:
        boxed = await sandbox.judge(
            one.data, file="mutant.pdf", anchors=seeds.anchors, now=seeds.now, brought=seeds.brought, both=False
        )
    if boxed.line() == report.line():
        return None
    return Finding("sandbox", index, one.seed, f"here: {report.line()}\n\nin the sandbox: {boxed.line()}")
