"""Three signers of three kinds of keys on one document: every level, every style of field; at LTA by either writer."""

from __future__ import annotations

import asyncio
import sys
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_world import desk, order

from events.values import BaselineLevel
from services.signer.adapters.fast.writer import FastWriter
from services.signer.adapters.pyhanko_writer import PyhankoWriter
from services.signer.model import Certify, SigningAlgorithm
from tests.support.judges import judge

SLOTS = ("buyer", "seller", "witness")
STYLES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "made, visible": (pdfs.typst_pdfa, {}, {}),
    "made, invisible": (pdfs.typst_pdfa, {"stamped": False}, {}),
    "empty before": (lambda: prepared(), {}, {}),
    "empty before, invisible": (lambda: prepared(), {"stamped": False}, {}),
    "locked": (lambda: prepared(locks=True), {}, {}),
    "certified, made": (pdfs.minimal, {}, {"certify": Certify.FORMS}),
    "certified, empty before": (lambda: prepared(), {}, {"certify": Certify.FORMS}),
    "certified, invisible": (pdfs.minimal, {"stamped": False}, {"certify": Certify.FORMS}),
}
"""A style: the document, what every order says of the field, and what the first order says beside it."""


def prepared(*, locks: bool = False) -> bytes:
    """A document with an empty field for each signer and one to fill in; with locks each signer locks something."""
    said = {
        "buyer": "/Action /Include /Fields [(meter)]",
        "seller": "/Action /Exclude /Fields [(witness)]",
        "witness": "/Action /All",
    }
    objects = {
        20 + at: f"<< /FT /Sig /T ({slot}) /Type /Annot /Subtype /Widget /F 132 /P 10 0 R "
        f"/Rect [{40 + 180 * at} 50 {200 + 180 * at} 110] "
        + (f"/Lock << /Type /SigFieldLock {said[slot]} >> >>" if locks else ">>")
        for at, slot in enumerate(SLOTS)
    } | {
        6: "<< /Fields [20 0 R 21 0 R 22 0 R 7 0 R] >>",
        7: "<< /FT /Tx /T (meter) /V (000123) /Type /Annot /Subtype /Widget /Rect [50 150 200 170] /P 10 0 R /F 4 >>",
    }
    fields = {"/Annots": "[20 0 R 21 0 R 22 0 R 7 0 R]"}
    return pdfs.assemble([fields], catalog_extra="/AcroForm 6 0 R", more=objects)


@pytest.mark.judge
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_each_of_three_signers_has_the_level_that_was_asked_for(tmp_path):
    """ETSI EN 319 142-1 clause 6.3: LT and LTA by what is in the file alone; B and T by the authority's answers."""
    files: dict[Path, BaselineLevel] = {}
    async with desk(tmp_path) as at:
        parties = [await at.party(algorithm) for algorithm in SigningAlgorithm]
        paths = {party.credential: await at.status.check(party.chain) for party in parties}
        trio = cycle(parties)
        for style, (make, every, first) in STYLES.items():
            for level in BaselineLevel:
                for writer in (FastWriter, PyhankoWriter) if level is BaselineLevel.LTA else (FastWriter,):
                    pdf = make()
                    # Each file begins with the kind of key where the one before it ended: all come, in every place.
                    for index, (party, slot) in enumerate(zip(islice(trio, 3), SLOTS, strict=True)):
                        check = paths[party.credential]
                        more = every | (first if index == 0 else {})
                        ordered = order(
                            pdf, check.path, party.credential, party.algorithm, slot=slot, index=index, level=level,
                            **more,
                        )  # fmt: skip
                        pdf = (await writer(at.keys, at.authority, at.status).sign(pdf, ordered, check.evidence)).pdf
                    file = tmp_path / f"{style}, {level.value}, {writer.__name__}.pdf"
                    file.write_bytes(pdf)
                    files[file] = level
        root = at.world.root.certificate.public_bytes(Encoding.PEM)
        lasting = [file for file, level in files.items() if level in (BaselineLevel.LT, BaselineLevel.LTA)]
        others = [file for file in files if file not in lasting]
        found = await asyncio.to_thread(judge, tmp_path, root, lasting)
        found |= await asyncio.to_thread(judge, tmp_path, root, others, offline=False)
    wrong = {}
    for file, level in files.items():
        line = found[file.name]
        said = [(one["level"], one["indication"]) for one in line.get("signatures", [])]
        if not line.get("strict_ok") or said != [(level.value, "TOTAL_PASSED")] * 3:
            wrong[file.name] = (said, line)
    assert not wrong


@pytest.mark.judge
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_one_signer_three_times_has_the_level_that_was_asked_for(tmp_path):
    """The second and the third signature bring no new certificate and no new status."""
    files: dict[str, str] = {}
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        for level in (BaselineLevel.LT, BaselineLevel.LTA):
            pdf = pdfs.typst_pdfa()
            for index, slot in enumerate(SLOTS):
                ordered = order(pdf, check.path, party.credential, party.algorithm, slot=slot, index=index, level=level)
                pdf = (await FastWriter(at.keys, at.authority, at.status).sign(pdf, ordered, check.evidence)).pdf
            (tmp_path / f"{level.value}.pdf").write_bytes(pdf)
            files[f"{level.value}.pdf"] = level.value
        root = at.world.root.certificate.public_bytes(Encoding.PEM)
        found = await asyncio.to_thread(judge, tmp_path, root, [tmp_path / name for name in files])
    for name, level in files.items():
        assert found[name]["strict_ok"]
        assert [(one["level"], one["indication"]) for one in found[name]["signatures"]] == [(level, "TOTAL_PASSED")] * 3
