"""A file of 100 MB is signed within 80 MB of memory, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import signing_world
from bench.sign import document, grown

MOST_KB = 80_000


@pytest.mark.timeout(300)
@pytest.mark.slow
@pytest.mark.parametrize("level", ["B-B", "B-LTA"])
def test_memory_does_not_grow_with_the_file(tmp_path, level):
    command = [sys.executable, "-m", "bench.signing_world", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as server:
        try:
            assert server.stdout is not None
            base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            signing_world.make(tmp_path, base)
            small = document(2, 27_000)
            (tmp_path / "large.small.pdf").write_bytes(small)
            (tmp_path / "large.pdf").write_bytes(grown(small, 100_000_000))
            done = subprocess.run(
                [sys.executable, "-m", "bench.sign_file", str(tmp_path), base + "/tsa", "p256", level,
                 str(tmp_path / "large.pdf"), str(tmp_path / "signed.pdf")],
                capture_output=True, text=True, check=False, timeout=100, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        finally:
            server.terminate()
    assert done.returncode == 0, done.stderr[-500:]
    assert (tmp_path / "signed.pdf").stat().st_size > 100_000_000
    assert int(done.stdout.split()[1]) <= MOST_KB
