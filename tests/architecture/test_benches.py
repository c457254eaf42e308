"""The benches are run by hand: that they still fit the product is seen here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"bench.peers.endesive_signer"}
"""Run in an environment of its own."""


@pytest.mark.parametrize(
    "name",
    sorted(
        {".".join(one.relative_to(ROOT).with_suffix("").parts) for one in (ROOT / "bench").rglob("*.py")} - ELSEWHERE
    ),
)
def test_a_bench_imports_what_is_there(name):
    import_module(name.removesuffix(".__init__"))
