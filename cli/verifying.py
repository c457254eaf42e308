"""`antin verify` with its papers: the seal and the folders are made ready before the first file is judged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from events.errors import AntinError, Refused
from services.runtime.clock import SystemClock
from services.runtime.negotiation import Language
from services.runtime.outbound import Outbound
from services.verifier.adapters.papers import Papers as Press
from services.verifier.adapters.seal import seal_from
from services.verifier.cli import USAGE, verify
from services.verifier.filing import Drawer


@dataclass(frozen=True)
class Papers:
    """Which files are written beside the verdict, and what they are sealed with."""

    pdf: Path | None
    unsealed: bool
    key: Path | None
    chain: Path | None
    tsa: str | None
    allow: Sequence[str]
    etsi: Path | None


async def judge(
    files: Sequence[Path],
    papers: Papers,
    *,
    anchors: Path | None,
    trust: Path | None,
    sets: Sequence[str],
    as_json: bool,
    html: Path | None,
    lang: Language | None,
    both: bool,
) -> int:
    """Judge the files; returns the exit code of `services.verifier.cli`."""
    async with Outbound(allowed=papers.allow) as outbound:
        try:
            drawers = _drawers(papers, outbound)
        except AntinError as fault:
            print(f"antin: found {fault.found}; expected {fault.expected}; {fault.remedy}", file=sys.stderr)  # noqa: T201
            return USAGE
        return await verify(
            files,
            anchors=anchors,
            trust=trust,
            sets=sets,
            drawers=drawers,
            as_json=as_json,
            html=html,
            lang=lang,
            both=both,
        )


def _drawers(papers: Papers, outbound: Outbound) -> list[Drawer]:
    """Raises Refused or Malformed: a PDF without a seal was not asked for in so many words, or the seal is unusable."""
    seal = None
    if papers.pdf is not None and not papers.unsealed:
        seal = seal_from(papers.key, papers.chain, SystemClock(), outbound, papers.tsa)
        if seal is None:
            raise Refused(
                "no-seal",
                found="no key to seal the PDF report with",
                expected="--seal-key and --seal-chain",
                remedy="give both, or say --unsealed: then anybody could have made it",
            )
    press = Press(seal)
    drawers = []
    if papers.pdf is not None:
        drawers.append(Drawer(papers.pdf, ".report.pdf", partial(press.print, sealed=seal is not None)))
    if papers.etsi is not None:
        drawers.append(Drawer(papers.etsi, ".report.xml", press.xml))
    return drawers
