"""`python -m tests.fuzz`: so many mutants of signed PDFs; exit 1 when the verifier does not stand one of them.

Findings lie in var/fuzz/findings, each with the reason and, where there is one, the traceback. The seeds are made once
and kept in var/fuzz/seeds: with them, a seed number and a mutant's number make the same file again (`--only`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.fuzz.hunt import Tally, examined, hunt, made
from tests.fuzz.seeds import kept


def main() -> int:
    """Hunt, print, and say whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutants", "-n", type=int, default=100_000, help="how many (default 100000)")
    parser.add_argument("--seed", type=int, default=1, help="another number gives other mutants (default 1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--folder", type=Path, default=Path("var/fuzz"), help="where seeds and findings are kept")
    parser.add_argument("--only", type=int, help="judge this one mutant here, and print the report")
    asked = parser.parse_args()
    if asked.mutants < 1 or asked.workers < 1:
        parser.error(f"found {asked.mutants} mutants, {asked.workers} workers; expected at least one of each")
    seeds = kept(asked.folder / "seeds")
    if asked.only is not None:
        one = made(seeds, asked.seed, asked.only)
        report, finding, spent = examined(seeds, seeds.signed(), one, asked.only)
        print(f"seed {one.seed}, edits {', '.join(one.edits)}, {len(one.data)} octets, {spent:.3f} s of processor")
        print(report.model_dump_json(indent=2) if report else "no report")
        print(f"{finding.kind}: {finding.told}" if finding else "stands")
        return 1 if finding else 0
    began = last = time.monotonic()

    def progress(tally: Tally) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= (1 if sys.stderr.isatty() else 15):
            last = now
            rate = tally.judged / (now - began)
            left = (asked.mutants - tally.judged) / rate if rate else 0
            print(
                f"{tally.judged} of {asked.mutants}, {rate:.0f}/s, {left:.0f} s left, "
                f"findings {tally.findings.total()}",
                file=sys.stderr,
                flush=True,
            )

    print(f"{asked.mutants} mutants of {len(seeds.files)} signed files, seed {asked.seed}", file=sys.stderr)
    tally = hunt(
        seeds,
        asked.mutants,
        seed=asked.seed,
        workers=asked.workers,
        folder=asked.folder / "findings",
        told=progress,
    )
    took = time.monotonic() - began
    print(f"{tally.judged} mutants in {took:.0f} s ({tally.judged / took:.0f}/s), {tally.sandboxed} in the sandbox too")
    print(f"processor: {tally.processor / max(tally.judged, 1) * 1000:.1f} ms each, the slowest {tally.slowest:.2f} s")
    for answer, many in tally.verdicts.most_common():
        print(f"  {many:>8}  {answer}")
    kinds = ("exception", "crash", "hang", "slow", "forged", "sandbox")
    counts = {kind: sum(many for told, many in tally.findings.items() if told.startswith(f"{kind}:")) for kind in kinds}
    print(", ".join(f"{kind} {many}" for kind, many in counts.items()))
    for told, many in tally.findings.most_common(40):
        print(f"  {many:>8}  {told}")
    if tally.findings:
        print(f"files: {asked.folder / 'findings'}; one again: python -m tests.fuzz --seed {asked.seed} --only N")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
