"""Keeps real servers running on loopback until Ctrl+C: `python -m tools.real kafka|postgres|s3|all`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from tools.real.child import DidNotStart, NotHere
from tools.real.kafka import Kafka
from tools.real.postgres import Postgres
from tools.real.s3 import S3

KINDS = {"kafka": Kafka, "postgres": Postgres, "s3": S3}


def main() -> int:
    """Start, say with which settings Antin uses them, wait, stop; 1 when one cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tools.real", description=__doc__)
    parser.add_argument("which", choices=[*KINDS, "all"])
    parser.add_argument("--folder", type=Path, default=Path("var/real"), help="where data and logs are kept")
    asked = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with ExitStack() as stack:
        lines: list[str] = []
        for name, kind in KINDS.items():
            if asked.which not in (name, "all"):
                continue
            try:
                server = stack.enter_context(kind(asked.folder / name))
            except (NotHere, DidNotStart) as fault:
                sys.stderr.write(f"{name}: {fault}\n")
                return 1
            lines += [f"export {key}={value}" for key, value in server.environment().items()]
            sys.stderr.write(f"{name}: started in {server.start_s:.1f} s\n")
        settings = asked.folder / "env"
        settings.write_text("\n".join(lines) + "\n")
        sys.stdout.write("\n".join([*lines, f"# also in {settings}; stop with Ctrl+C", ""]))
        sys.stdout.flush()
        over.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
