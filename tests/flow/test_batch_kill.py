"""A batch whose signer and whose caller are killed meanwhile: every document signed once, every signature provable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.batch import run


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_killed_batch_goes_on_without_a_double(tmp_path: Path) -> None:
    """crash-safety.md: a claim by lease and epoch, an artefact under a name that one gets."""
    documents = int(os.environ.get("BATCH_DOCUMENTS", "300"))
    found = await run(tmp_path, documents, 4, "T", 20261125)
    assert (found["signatures"], found["lost"], found["double"]) == (documents, 0, 0)
    assert found["proofs_hold"]
    assert sum(found["killed"].values()) >= 3
