"""PDF/A stays PDF/A: veraPDF judges what is made, signed by either writer, and sealed, by the part that it claims."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pikepdf
import pytest
import typst
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import novation
import pdfs
from signer_world import desk, order

from events.values import Slot
from services.contracts.adapters.typst_maker import render
from services.contracts.aggregate import SigningTerms
from services.contracts.fields import PowerPurchaseNovation, TemplateName
from services.runtime.clock import SystemClock
from services.signer.adapters.fast.writer import FastWriter
from services.signer.adapters.pyhanko_writer import PyhankoWriter
from services.signer.model import Certify, SigningAlgorithm
from services.verifier.adapters.papers import Papers
from services.verifier.adapters.seal import Seal
from services.verifier.engine import examine
from tools.real.child import NotHere
from tools.real.verapdf import Conformance, judge

pytestmark = [pytest.mark.real, pytest.mark.timeout(360)]

SLOTS = ("outgoing-buyer", "incoming-buyer", "supplier")
ALGORITHMS = (SigningAlgorithm.RSA_3072_PSS, SigningAlgorithm.RSA_3072_PKCS1, SigningAlgorithm.P256)
WORDS = f"#set document(title: [Contract], date: datetime(year: 2026, month: 11, day: 24))\n= {pdfs.VIETNAMESE}\n"


async def judged(folder: Path, files: dict[str, bytes]) -> dict[str, Conformance]:
    """What veraPDF says of each, one JVM for all; a skip aloud where it cannot be had."""
    paths = {name: folder / f"{name}.pdf" for name in files}
    for name, pdf in files.items():
        paths[name].write_bytes(pdf)
    try:
        found = await asyncio.to_thread(judge, list(paths.values()))
    except NotHere as fault:
        if os.environ.get("ANTIN_REAL") == "1":
            raise
        pytest.skip(f"NOT TESTED with veraPDF: {fault}")
    return dict(zip(paths, found, strict=True))


def made(part: str) -> bytes:
    """A page of Typst that claims `part` of PDF/A."""
    return typst.compile((WORDS + "#lorem(400)").encode(), pdf_standards=[f"a-{part}"], ignore_system_fonts=True)


def contract() -> bytes:
    """The template's own contract."""
    fields = PowerPurchaseNovation.model_validate(novation.fields())
    signers = [[Slot(SLOTS[0]), Slot(SLOTS[1])], [Slot(SLOTS[2])]]
    now = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
    return render(TemplateName.POWER_PURCHASE_NOVATION, fields, SigningTerms(), signers, now).pdf


async def test_verapdf_finds_what_is_wrong(tmp_path):
    """ISO 19005-3 clause 6.5.1: a JavaScript action; and a file without the claim has none."""
    scripted = io.BytesIO()
    with pikepdf.open(io.BytesIO(made("3b"))) as document:
        document.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="1")
        document.save(scripted)
    found = await judged(tmp_path, {"scripted": scripted.getvalue(), "plain": pdfs.minimal()})
    assert found["scripted"].claims == "3b"
    assert any(rule.startswith("6.5.1 ") for rule in found["scripted"].broken)
    assert (found["plain"].claims, found["plain"].conforms) == (None, False)


@pytest.mark.parametrize("kind", ["1a", "1b", "2u", "3a", "3b", "4", "contract"])
async def test_signatures_leave_a_document_what_it_claims(tmp_path, kind):
    """ISO 19005-3 clause 6.4.3 and the rest: unsigned, signed once and three times, certified, stamped or not."""
    base = contract() if kind == "contract" else made(kind)
    # PDF/A-1 is kept by the fast writer alone (docs/divergences.md).
    writers = (FastWriter,) if kind.startswith("1") else (FastWriter, PyhankoWriter)
    files = {"unsigned": base}
    async with desk(tmp_path) as at:
        parties = [await at.party(algorithm) for algorithm in ALGORITHMS]
        checks = [await at.status.check(party.chain) for party in parties]
        for writer in writers:
            for certify in (None, Certify.FORMS):
                pdf = base
                for index, (party, check, slot) in enumerate(zip(parties, checks, SLOTS, strict=True)):
                    ordered = order(
                        pdf, check.path, party.credential, party.algorithm,
                        slot=slot, index=index, certify=certify if index == 0 else None,
                        stamped=index != 1 or certify is None,
                    )  # fmt: skip
                    pdf = (await writer(at.keys, at.authority, at.status).sign(pdf, ordered, check.evidence)).pdf
                    files[f"{writer.__name__}-{'certified' if certify else 'approved'}-{index + 1}"] = pdf
    found = await judged(tmp_path, files)
    assert {one.claims for one in found.values()} == {"3b" if kind == "contract" else kind}
    assert {name: one.broken for name, one in found.items() if one.broken} == {}


async def test_a_sealed_report_is_what_it_claims(tmp_path):
    """ISO 19005-2: the report as it is printed, sealed, and sealed with a timestamp."""
    async with desk(tmp_path) as at:
        signed = await (await at.party(SigningAlgorithm.P256)).sign(pdfs.minimal())
        root = at.world.root.certificate.public_bytes(Encoding.PEM)
        report = examine(signed, file="Hợp đồng.pdf", anchors=[root], now=SystemClock().now())
        key = ec.generate_private_key(ec.SECP256R1())
        chain = at.world.subscriber(
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "Đơn vị kiểm tra"
        )
        (tmp_path / "seal.pem").write_bytes(b"".join(map(_pem, chain[:-1])))
        (tmp_path / "seal.key").touch(mode=0o600)
        (tmp_path / "seal.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files = tmp_path / "seal.key", tmp_path / "seal.pem"
        plain = Papers(Seal.from_files(*files, SystemClock()))
        timed = Papers(Seal.from_files(*files, SystemClock(), at.outbound, at.world.base + "/tsa"))
        papers = {
            "unsealed": await plain.print(report, sealed=False),
            "sealed": await plain.print(report),
            "timed": await timed.print(report),
        }
    assert await judged(tmp_path, papers) == dict.fromkeys(papers, Conformance("2b", ()))


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
