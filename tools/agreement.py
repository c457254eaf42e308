"""The engines held against each other over a folder of PDFs, as a Markdown table with what is known of each difference.

    python -m tools.agreement [FOLDER] [--write]

Without FOLDER: the corpus at ../shared/corpus (or $ANTIN_SHARED/corpus). With a manifest.json, the right answers stand
beside. The outside judge is asked where judge/judge.sh lies beside the corpus and Java is there. Nothing is trusted:
integrity is what is compared, and a verdict can at best be undetermined. --write puts the table into docs/agreement.md,
between the marks; what is written by hand around it stays.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.runtime.clock import SystemClock
from services.verifier import catalogue
from services.verifier.inspection import gather, judge_files
from services.verifier.model import FileReport, Integrity, Opinion, Stance
from services.verifier.sandbox import OTHERS
from services.verifier.trust_store import trusted

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("ANTIN_SHARED", ROOT.parent / "shared"))
PAGE = ROOT / "docs" / "agreement.md"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
_ORDER = (Integrity.BROKEN, Integrity.CHANGED, Integrity.INTACT)


def main() -> int:
    """Exit: 0 printed or written, 2 nothing to judge."""
    parser = argparse.ArgumentParser(prog="python -m tools.agreement", description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "corpus", help="PDFs, perhaps a manifest.json")
    parser.add_argument("--write", action="store_true", help="into docs/agreement.md")
    given = parser.parse_args()
    if not given.folder.is_dir():
        print(f"found no folder {given.folder}; expected PDF files; name their folder", file=sys.stderr)
        return 2
    reports = asyncio.run(judged(given.folder))
    text = "\n".join(page(reports, answers(given.folder), outside([Path(one.file) for one in reports])))
    if given.write:
        before = PAGE.read_text(encoding="utf-8")
        head, _, rest = before.partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    else:
        print(text)
    return 0


async def judged(folder: Path) -> list[FileReport]:
    """Every PDF of the folder, by all engines, in the sandbox."""
    clock = SystemClock()
    return [one async for one in judge_files(gather([folder]), trusted((), clock.now()), clock=clock)]


def answers(folder: Path) -> Mapping[str, tuple[str, str]]:
    """(name, right answer) by SHA-256, from the manifest, where there is one."""
    manifest = folder / "manifest.json"
    entries = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else []
    return {each["sha256"]: (Path(each["path"]).name, each["expected"]["verdict"]) for each in entries}


def outside(paths: Sequence[Path]) -> Mapping[str, str]:
    """The outside judge's word on each file, by path; nothing where it is absent."""
    script = SHARED / "judge" / "judge.sh"
    if not script.exists() or shutil.which("java") is None:
        return {}
    done = subprocess.run(
        [str(script), "--no-network", "--stdin"],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["file"]: _outside(line) for line in lines}


def _outside(line: Mapping[str, Any]) -> str:
    if line.get("error"):
        return "refused"
    signatures, stamps = line.get("signatures") or [], line.get("timestamps") or []
    if not signatures and not stamps:
        return "unsigned"
    fits = all(one["intact"] and one["valid"] and _range(one) for one in signatures)
    if not fits or not all(one.get("imprint_intact", True) for one in stamps):
        return "broken"
    return "intact" if all(one.get("clean", True) for one in signatures) else "changed"


def _range(one: Mapping[str, Any]) -> bool:
    return bool((one.get("pdf") or {}).get("byte_range_valid", True))


def page(
    reports: Sequence[FileReport], right: Mapping[str, tuple[str, str]], judge: Mapping[str, str]
) -> Iterable[str]:
    """The table, its sums, and what each named reason means."""
    asked = next((one.engines for one in reports if len(one.engines) > 1), ())
    yield f"Engines: {', '.join(asked)}{'; outside judge: DSS of the EU' if judge else ''}. {len(reports)} files.\n"
    yield "| file | right answer | engine one | engine two | third | outside judge | stance | differences |"
    yield "|---|---|---|---|---|---|---|---|"
    stances: Counter[str] = Counter()
    whys: set[str] = set()
    for report in sorted(reports, key=lambda one: right.get(one.sha256 or "", (Path(one.file).name, ""))):
        name, answer = right.get(report.sha256 or "", (Path(report.file).name, "-"))
        stance = report.agreement.stance.value if report.agreement else "not asked"
        stances[stance] += 1
        apart = differences(report)
        whys.update(why for _, why in apart)
        cells = [
            f"{(report.sha256 or '')[:8]} {name}",
            answer,
            report.integrity.value,
            *(said([one for one in report.opinions if one.engine == engine], report) for engine in OTHERS),
            judge.get(report.file, "-"),
            stance,
            "; ".join(f"{engine}: `{why}`" for engine, why in apart) or "-",
        ]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield "\n" + ", ".join(f"{name}: {count}" for name, count in sorted(stances.items())) + ".\n"
    yield "Reasons:\n"
    for why in sorted(whys):
        yield f"* `{why}`: {catalogue.explanation(why).en}"


def said(opinions: Sequence[Opinion], report: FileReport) -> str:
    """One engine's word on a file: the worst of its signatures, and on how many it cannot say anything."""
    if not opinions:
        return "-" if report.agreement is None else "nothing"
    known = [one.integrity for one in opinions if one.integrity is not None]
    worst = next((each.value for each in _ORDER if each in known), known[0].value if known else "")
    silent = len(opinions) - len(known)
    return ", ".join(filter(None, (worst, f"cannot say ({silent})" if silent else "")))


def differences(report: FileReport) -> list[tuple[str, str]]:
    """(engine, reason) of each difference, once; the reason is `not-understood` where none is known."""
    rows = report.agreement.rows if report.agreement else ()
    found = [
        (row.engine, row.why or "not-understood")
        for row in rows
        if row.stance is not Stance.AGREES and row.why != "value-only"
    ]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    sys.exit(main())
