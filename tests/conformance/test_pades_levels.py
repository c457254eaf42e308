"""What others say of our signatures: pyHanko's AdES validation, poppler, and an outside judge, all offline."""

from __future__ import annotations

import asyncio
import sys
from io import BytesIO
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_world import desk

from events.values import BaselineLevel
from services.signer.model import SigningAlgorithm
from tests.support.judges import judge, passes_at_pyhanko, poppler_calls_valid

ALGORITHMS = [SigningAlgorithm.RSA_3072_PSS, SigningAlgorithm.RSA_3072_PKCS1, SigningAlgorithm.P256]
NAMES = ["Nguyễn Thị Phương Thảo", "Đặng Trần Hoàng Quân", "Lê Ỷ"]
LTA = BaselineLevel.LTA


async def test_three_signers_of_three_kinds_are_each_lta(tmp_path):
    """ETSI EN 319 142-1 clause 6: B-LTA for every signature of a contract, not for the last alone."""
    async with desk(tmp_path) as at:
        pdf = pdfs.good()["typst-pdfa"]
        for index, (algorithm, who) in enumerate(zip(ALGORITHMS, NAMES, strict=True)):
            party = await at.party(algorithm, who)
            pdf = await party.sign(pdf, f"slot-{index}", index)
        assert await passes_at_pyhanko(pdf, at.world.root.der) == 3


@pytest.mark.parametrize("offer_ocsp", [True, False], ids=["ocsp", "crl"])
async def test_the_same_certificate_twice_is_lta_twice(tmp_path, offer_ocsp):
    async with desk(tmp_path, offer_ocsp=offer_ocsp) as at:
        party = await at.party(SigningAlgorithm.P256)
        pdf = await party.sign(pdfs.minimal(), "buyer", 0)
        pdf = await party.sign(pdf, "witness", 1)
        assert await passes_at_pyhanko(pdf, at.world.root.der) == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_what_every_level_must_and_must_not_hold(tmp_path, algorithm):
    """EN 319 142-1 clause 6.3, table 1: requirements of all levels."""
    async with desk(tmp_path) as at:
        party = await at.party(algorithm)
        for level in BaselineLevel:
            pdf = await party.sign(pdfs.minimal(), level=level)
            reader = PdfFileReader(BytesIO(pdf))
            (signature,) = reader.embedded_regular_signatures
            value = signature.sig_object
            assert value["/SubFilter"] == "/ETSI.CAdES.detached"
            assert "/M" in value
            assert "/Cert" not in value
            content = cms.ContentInfo.load(bytes(value.raw_get("/Contents")))["content"]
            (signer,) = content["signer_infos"]
            kinds = {attribute["type"].native for attribute in signer["signed_attrs"]}
            assert {"content_type", "message_digest", "signing_certificate_v2"} <= kinds
            assert "signing_time" not in kinds
            assert party.chain[0] in {c.chosen.dump() for c in content["certificates"]}
            expected = {
                SigningAlgorithm.RSA_3072_PSS: "rsassa_pss",
                SigningAlgorithm.RSA_3072_PKCS1: "rsassa_pkcs1v15",
                SigningAlgorithm.P256: "ecdsa",
            }
            assert signer["signature_algorithm"].signature_algo == expected[algorithm]
            timed = signer["unsigned_attrs"].native is not None
            assert timed == (level is not BaselineLevel.B)
            assert ("/DSS" in reader.root) == (level in (BaselineLevel.LT, BaselineLevel.LTA))
            assert len(reader.embedded_timestamp_signatures) == (level is BaselineLevel.LTA)
            # The signature, then the validation data in a revision after it, then the document timestamp.
            added = {BaselineLevel.B: 1, BaselineLevel.T: 1, BaselineLevel.LT: 2, BaselineLevel.LTA: 3}[level]
            assert reader.xrefs.total_revisions == 1 + added


@pytest.mark.judge
async def test_the_outside_judge_calls_every_level_by_its_name(tmp_path):
    async with desk(tmp_path) as at:
        files = []
        for algorithm in ALGORITHMS:
            party = await at.party(algorithm)
            for level in BaselineLevel:
                file = tmp_path / f"{algorithm.value}+{level.value}.pdf"
                file.write_bytes(await party.sign(pdfs.minimal(), level=level))
                files.append(file)
        offline = judge(tmp_path, at.world.root.certificate.public_bytes(Encoding.PEM), files)
        assert len(offline) == len(files)
        for name, line in offline.items():
            (signature,) = line["signatures"]
            assert signature["level"] == name.removesuffix(".pdf").split("+")[1]
            assert signature["intact"], name
            assert signature["valid"], name
            if signature["level"] in (BaselineLevel.LT.value, BaselineLevel.LTA.value):
                assert line["strict_ok"], (name, signature)


@pytest.mark.judge
@pytest.mark.slow
@pytest.mark.timeout(360)
async def test_the_outside_judge_passes_many_signers_on_many_files(tmp_path):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        parties = [await at.party(algorithm, who) for algorithm, who in zip(ALGORITHMS, NAMES, strict=True)]
        files = {}

        async def write(name: str, base: bytes, signers: list) -> None:
            for index, signer in enumerate(signers):
                base = await signer.sign(base, f"slot-{index}", index)
            file = tmp_path / f"{name}.pdf"
            file.write_bytes(base)
            files[file] = len(signers)

        await write("three", pdfs.good()["typst-pdfa"], parties)
        await write("same-twice", pdfs.minimal(), [party, party])
        for kind, base in pdfs.good().items():
            await write(f"kind-{kind}", base, [parties[2], party])
        at.world.offer_ocsp = False
        silent = await at.party(SigningAlgorithm.P256)
        await write("same-twice-crl", pdfs.minimal(), [silent, silent])
        found = judge(tmp_path, at.world.root.certificate.public_bytes(Encoding.PEM), list(files))
    wrong = {}
    for file, signatures in files.items():
        line = found[file.name]
        levels = [signature["level"] for signature in line.get("signatures", [])]
        if not line.get("strict_ok") or levels != [LTA.value] * signatures:
            wrong[file.name] = (line.get("error"), levels, [s.get("pdf") for s in line.get("signatures", [])])
    assert not wrong


async def test_poppler_calls_each_valid(tmp_path):
    async with desk(tmp_path) as at:
        pdf = pdfs.minimal()
        for index, algorithm in enumerate(ALGORITHMS):
            pdf = await (await at.party(algorithm)).sign(pdf, f"slot-{index}", index)
    file = tmp_path / "signed.pdf"
    file.write_bytes(pdf)
    assert await asyncio.to_thread(poppler_calls_valid, file) == 3
