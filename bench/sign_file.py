"""Sign one file into another as the service would, and say what that took: the 100 MB of `make bench-sign`.

Usage: python -m bench.sign_file FOLDER TSA KEY LEVEL SOURCE TARGET: prints milliseconds of processor and kilobytes of
memory at the peak.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from bench.desk import Desk


async def main(folder: Path, tsa: str, key: str, level: str, source: Path, target: Path) -> None:
    """Sign once; opening keys, certificates and connections is not counted, as it is done once a process."""
    async with Desk.open(folder, tsa, key) as desk:
        warm = target.with_suffix(".warm")
        tiny = source.with_suffix(".small.pdf")
        await desk.file(tiny, warm, level)
        warm.unlink()
        order = desk.order_of(source, level)
        before = time.process_time()
        await desk.writer.sign_file(source, target, order, desk.evidence)
        spent = (time.process_time() - before) * 1000
    print(spent, _peak())


def _peak() -> int:
    """Kilobytes of memory at the peak of this program; what getrusage says may be that of the process it came from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]), Path(sys.argv[6])))
