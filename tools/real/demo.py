"""The demo on real Kafka, PostgreSQL and S3: starts them, runs `antin demo` with their settings, stops them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tools.real.child import DidNotStart, NotHere
from tools.real.kafka import Kafka
from tools.real.postgres import Postgres
from tools.real.s3 import S3


def main() -> int:
    """The exit code of the demo, or 1 when a server cannot be had."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="antin-demo-")))
        environment = dict(os.environ)
        try:
            for name, kind in (("kafka", Kafka), ("postgres", Postgres), ("s3", S3)):
                server = stack.enter_context(kind(folder / name))
                environment |= server.environment()
        except (NotHere, DidNotStart) as fault:
            sys.stderr.write(f"the demo cannot run on Kafka: {fault}\n")
            return 1
        antin = [sys.executable, "-m", "cli.main"]
        applied = subprocess.run([*antin, "topics", "apply"], env=environment, check=False, stdout=subprocess.DEVNULL)
        if applied.returncode != 0:
            return applied.returncode
        return subprocess.run([*antin, "demo", *sys.argv[1:]], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
