"""What `antin verify` does: a table at a terminal, plain lines in a pipe, one JSON object a line for machines.

Exit: 0 every signature of every file passed; 1 at least one failed; 2 wrong usage; 4 none failed, but a file is not a
readable PDF or carries no signature; 3 otherwise, when something is undetermined. So 1 beats 4 beats 3 beats 0.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import aclosing, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from events.errors import AntinError, Refused
from services.runtime.clock import Clock, SystemClock
from services.runtime.negotiation import Language
from services.verifier import catalogue
from services.verifier.catalogue import Text
from services.verifier.filing import Drawer
from services.verifier.inspection import gather, judge_files
from services.verifier.model import (
    CheckFinding,
    FileReport,
    Integrity,
    LaterChange,
    SignatureReport,
    TimestampReport,
    Verdict,
)
from services.verifier.report import ICONS, agreement, differences, local, sentence, why
from services.verifier.report_folder import ReportFolder
from services.verifier.sandbox import Limits
from services.verifier.trust_store import AnchorSet, Trusted, plain_set, read_sets, trusted

DATA = Path("var/serve")
"""The data folder, where nothing else is said."""
PASSED, FAILED, USAGE, UNDETERMINED, UNUSABLE = 0, 1, 2, 3, 4
_COLOURS = {"passed": "green", "failed": "red", "undetermined": "yellow", "notice": "green"}


async def verify(
    files: Sequence[Path],
    *,
    anchors: Path | None = None,
    trust: Path | None = None,
    sets: Sequence[str] = (),
    drawers: Sequence[Drawer] = (),
    as_json: bool = False,
    html: Path | None = None,
    lang: Language | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
    both: bool = True,
) -> int:
    """Judge files and folders, offline; returns the exit code (see the module's docstring).

    `html`: a folder for one report of each file, with its pages drawn. `lang`: this language only; else both.
    Without `both`, only engine one is asked.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        paths = gather(files)
        clock = clock or SystemClock()
        relied = rely_on(anchors, trust, sets, clock.now())
        reports = ReportFolder(html, lang, limits) if html is not None else None
    except Refused as fault:
        return _usage(fault, err)
    console = Console(file=out, highlight=False)
    codes: list[int] = []
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=err),
        transient=True,
        disable=len(paths) < 3 or not err.isatty(),
    )
    try:
        judging = judge_files(paths, relied, clock=clock, limits=limits, both=both)
        async with reports or nullcontext(), aclosing(judging) as judged:
            with progress:
                task = progress.add_task(_said(catalogue.LABELS["verifying"], lang), total=len(paths))
                async for report in judged:
                    if reports is not None:
                        await reports.keep(report)
                    for drawer in drawers:
                        await drawer.file(report)
                    progress.advance(task)
                    codes.append(code_of(report))
                    if as_json:
                        out.write(json.dumps(report.line(), ensure_ascii=False) + "\n")
                    elif console.is_terminal:
                        _table(console, report, lang)
                    else:
                        out.writelines(line + "\n" for line in _lines(report, lang))
                    out.flush()
    except AntinError as fault:
        return _usage(fault, err)
    if reports is not None:
        err.write(f"{_said(catalogue.LABELS['reports'], lang)}: {reports.kept}, {reports.folder}\n")
    return exit_code(codes)


def _usage(fault: AntinError, err: TextIO) -> int:
    err.write(f"antin: found {fault.found}; expected {fault.expected}; {fault.remedy}\n")
    return USAGE


def rely_on(anchors: Path | None, trust: Path | None, names: Sequence[str], now: datetime) -> Trusted:
    """What the caller trusts: a folder of anchors, the named sets of a trust folder, or both.

    Raises:
        Refused: something cannot be read, or a set that was asked for by name is stale.
    """
    found: tuple[AnchorSet, ...] = (plain_set(anchors),) if anchors is not None else ()
    if trust is not None or names:
        found += read_sets(trust or DATA, names)
    relied = trusted(found, now)
    if stale := [name for name in relied.stale if name in names]:
        raise Refused(
            "set-stale",
            found=f"the set {', '.join(stale)}, fetched too long ago",
            expected="a set that is fresh",
            remedy="run antin trust refresh",
        )
    return relied


def code_of(report: FileReport) -> int:
    """The exit code that one file asks for."""
    if report.verdict is Verdict.FAILED:
        return FAILED
    if report.integrity in (Integrity.UNREADABLE, Integrity.UNSIGNED):
        return UNUSABLE
    return PASSED if report.verdict is Verdict.PASSED else UNDETERMINED


def exit_code(codes: Sequence[int]) -> int:
    """One exit code for several files: failed, then unusable, then undetermined, then passed."""
    return next((code for code in (FAILED, UNUSABLE, UNDETERMINED) if code in codes), PASSED)


def _lines(report: FileReport, lang: Language | None) -> list[str]:
    lines = [f"{report.file}: {_word(catalogue.VERDICTS[report.verdict.value], lang)}. {_said(sentence(report), lang)}"]
    lines += [f"  ! {_finding(finding, lang)}" for finding in report.findings if _worth(finding)]
    lines += [f"  = {_said(said, lang)}" for said in _engines(report)]
    for one in report.signatures:
        mine = _word(catalogue.VERDICTS[one.verdict.value], lang)
        lines.append(f"  {one.field}: {mine}, {_who(one)}, {_when(one, lang)}, {one.level or '-'}")
        lines += [f"    ! {_finding(finding, lang)}" for finding in one.findings if _worth(finding)]
        lines += [f"    ~ {_change(change, lang)}" for change in one.changes]
    for stamp in report.timestamps:
        mine = _word(catalogue.VERDICTS[stamp.verdict.value], lang)
        kind = _first(catalogue.KINDS["document"], lang)
        lines.append(f"  {stamp.field}: {mine}, {kind}, {local(stamp.time) or '-'}")
        lines += [f"    ! {_finding(finding, lang)}" for finding in stamp.findings if _worth(finding)]
    return lines


def _table(console: Console, report: FileReport, lang: Language | None) -> None:
    colour = _COLOURS[report.verdict.value]
    word, said = catalogue.VERDICTS[report.verdict.value], sentence(report)
    beside = f" ({word.en})" if lang is None else ""
    console.print(
        f"[bold {colour}]{ICONS[report.verdict.value]} {_first(word, lang)}[/]{beside}  [bold]{escape(report.file)}[/]"
    )
    console.print(f"  {escape(_first(said, lang))}" + (f"\n  [dim]{escape(said.en)}[/]" if lang is None else ""))
    for finding in report.findings:
        if _worth(finding):
            style = _COLOURS.get(finding.outcome.value, "yellow")
            console.print(f"  [{style}]! {escape(_finding(finding, lang))}[/]")
    for about in _engines(report):
        console.print(f"  [dim]{escape(_said(about, lang))}[/]")
    each: list[SignatureReport | TimestampReport] = [*report.signatures, *report.timestamps]
    if not each:
        console.print()
        return
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
    for name in ("field", "signer", "when", "level", "verdict"):
        table.add_column(_said(catalogue.COLUMNS[name], lang), overflow="fold")
    for one in each:
        mine = _word(catalogue.VERDICTS[one.verdict.value], lang)
        stamp = isinstance(one, TimestampReport)
        kind = _first(catalogue.KINDS["document"], lang)
        table.add_row(
            escape(one.field or "-"),
            escape(kind if isinstance(one, TimestampReport) else _who(one)),
            local(one.time) if isinstance(one, TimestampReport) else _when(one, lang),
            "-" if stamp or isinstance(one, TimestampReport) else one.level or "-",
            f"[{_COLOURS[one.verdict.value]}]{ICONS[one.verdict.value]} {mine}[/]",
        )
    console.print(table)
    for one in each:
        for finding in one.findings:
            if _worth(finding):
                style = _COLOURS.get(finding.outcome.value, "yellow")
                console.print(f"  [{style}]{escape(one.field or '-')}: {escape(_finding(finding, lang))}[/]")
        for change in one.changes:
            style = "dim" if change.allowed else "red"
            console.print(f"  [{style}]{escape(one.field or '-')} ~ {escape(_change(change, lang))}[/]")
    console.print()


def _engines(report: FileReport) -> list[Text]:
    line = agreement(report)
    return [] if line is None else [line, *differences(report)]


def _worth(finding: CheckFinding) -> bool:
    return finding.outcome.value in ("failed", "undetermined")


def _finding(finding: CheckFinding, lang: Language | None) -> str:
    name = _first(catalogue.check(finding.code), lang)
    return f"{name}: {_said(why(finding), lang)} [{finding.clause}]"


def _change(change: LaterChange, lang: Language | None) -> str:
    allowed = catalogue.LABELS["permitted" if change.allowed else "not-permitted"]
    page = f", {_first(catalogue.LABELS['page'], lang)} {change.page}" if change.page else ""
    detail = f" {change.detail}" if change.detail else ""
    return f"{_said(catalogue.change(change.what), lang)}{detail}{page} ({_said(allowed, lang)})"


def _who(one: SignatureReport) -> str:
    """The signer, and the named set that answers for the certificate."""
    if one.certificate is None:
        return "?"
    by = one.trusted_by
    return one.certificate.subject.name + (f" · {by.label}" if by is not None and by.label != by.set else "")


def _when(one: SignatureReport, lang: Language | None) -> str:
    if one.proven_time:
        return local(one.proven_time)
    label = _first(catalogue.LABELS["claimed"], lang)
    return f"{local(one.claimed_time)} ({label})" if one.claimed_time else "?"


def _first(text: Text, lang: Language | None) -> str:
    return text.en if lang == "en" else text.vi


def _said(text: Text, lang: Language | None) -> str:
    """In the language asked for, or in both."""
    return _first(text, lang) if lang or text.vi == text.en else f"{text.vi} / {text.en}"


def _word(text: Text, lang: Language | None) -> str:
    return _first(text, lang) if lang else f"{text.vi} ({text.en})"
