"""The signer against the lab's public-CA-shaped world: certificates, status and time come over HTTP as in the demo."""

from __future__ import annotations

import io
import json
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from pydantic import SecretStr
from pyhanko.pdf_utils.reader import PdfFileReader

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))

import pdfs
from signer_world import order
from test_pades_levels import passes_at_pyhanko

from events.errors import Refused, Unavailable
from events.values import CredentialId, Digest
from lab.world import World
from services.runtime.clock import SystemClock
from services.runtime.outbound import Outbound
from services.signer.adapters.chains import load_anchors
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.pades_writer import EitherWriter
from services.signer.adapters.status import OnlineStatus
from services.signer.adapters.tsa import OrderedAuthorities, Rfc3161Authority
from services.signer.model import SigningAlgorithm

SUBJECTS = {
    "natural": {"full_name": "Nguyễn Thị Phương Thảo", "personal_number": "001199000001"},
    "organisation": {"tax_code": "0100112437", "organisation_name": "Công ty Cổ phần Điện lực Hoà Bình"},
}


@pytest.fixture
async def lab(tmp_path):
    async with World(tmp_path / "lab") as world, Outbound(allowed=[world.host_port]) as outbound:
        anchors = load_anchors(world.anchors)
        keys = FileKeys(tmp_path / "keys", SecretStr("x"))
        status = OnlineStatus(outbound, anchors, SystemClock())
        authority = Rfc3161Authority(outbound, world.urls.tsa, anchors, SystemClock(), skew=timedelta(seconds=60))
        yield world, keys, status, EitherWriter(keys, authority, status)


async def enrol(world, keys, profile, algorithm):
    """A credential with a certificate of the lab CA: its id, its chain, its serial."""
    who = CredentialId(str(uuid.uuid4()))
    await keys.create(who, algorithm)
    body = {
        "csr": (await keys.csr(who, "nonce")).decode(),
        "profile": profile,
        "subject": SUBJECTS[profile],
        "validity_days": 365,
    }
    headers = {"Authorization": f"Bearer {world.ra_token}", "Idempotency-Key": str(uuid.uuid4())}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{world.urls.ca}/ca/certificates", json=body) as answer,
    ):
        made = json.loads(await answer.text())
        assert answer.status == 201, made
    pems = [made["certificate"], *made["chain"]]
    chain = tuple(load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER) for pem in pems)
    return who, chain, made["serial"]


async def test_citizen_and_firm_sign_and_their_certificates_rule(lab):
    world, keys, status, writer = lab
    pdf = pdfs.good()["typst-pdfa"]
    parties = [("natural", SigningAlgorithm.RSA_3072_PSS), ("organisation", SigningAlgorithm.P256)]
    serial = chain = ""
    for index, (profile, algorithm) in enumerate(parties):
        who, chain, serial = await enrol(world, keys, profile, algorithm)
        check = await status.check(chain)
        check.decide()
        ordered = order(pdf, check.path, who, algorithm, slot=f"slot-{index}", index=index)
        pdf = (await writer.sign(pdf, ordered, check.evidence)).pdf
    root = (world.anchors / "root.pem").read_bytes()
    assert await passes_at_pyhanko(pdf, load_pem_x509_certificate(root).public_bytes(Encoding.DER)) == 2
    assert len(PdfFileReader(io.BytesIO(pdf)).embedded_timestamp_signatures) == 2
    assert "001199000001" not in pdf.decode("latin-1")[: len(pdfs.good()["typst-pdfa"])]

    world.pki.change(serial, "suspended", "certificateHold")
    with pytest.raises(Refused, match="certificate-suspended"):
        (await status.check(chain)).decide()
    world.pki.change(serial, "good", None)
    (await status.check(chain)).decide()


@pytest.mark.parametrize("kind", ["down", "nonsense", "wrong-imprint", "wrong-nonce"])
async def test_the_labs_bad_time_releases_nothing(lab, kind):
    world, keys, status, writer = lab
    who, chain, _ = await enrol(world, keys, "natural", SigningAlgorithm.P256)
    check = await status.check(chain)
    world.fault("tsa", kind)
    with pytest.raises(Unavailable):
        await writer.sign(pdfs.minimal(), order(pdfs.minimal(), check.path, who, SigningAlgorithm.P256), check.evidence)


@pytest.mark.parametrize("kind", ["down", "nonsense", "wrong-imprint"])
async def test_while_one_authority_fails_the_other_gives_the_time(tmp_path, kind):
    """Both timestamps of an LTA by the second authority, whose own material is then in the file."""
    async with World(tmp_path / "lab") as world, Outbound(allowed=[world.host_port]) as outbound:
        anchors = load_anchors(world.anchors)
        keys = FileKeys(tmp_path / "keys", SecretStr("x"))
        status = OnlineStatus(outbound, anchors, SystemClock())
        two = OrderedAuthorities(
            [
                Rfc3161Authority(outbound, url, anchors, SystemClock(), timeout=2)
                for url in (world.urls.tsa, world.urls.tsa2)
            ],
            SystemClock(),
            status.evidence,
        )
        who, chain, _ = await enrol(world, keys, "natural", SigningAlgorithm.P256)
        world.fault("tsa", kind)
        check = await status.check(chain)
        pdf = pdfs.minimal()
        ordered = order(pdf, check.path, who, SigningAlgorithm.P256)
        signed = (await EitherWriter(keys, two, status).sign(pdf, ordered, check.evidence)).pdf
        assert await passes_at_pyhanko(signed, world.pki.root.der) == 1
        assert signed.count(world.pki.tsa2.der.hex().encode()) == 2


async def test_requests_to_an_authority_share_one_connection(tmp_path, monkeypatch):
    """A handshake a signature would cost more than the token."""
    opened = []
    check = Outbound._check

    def counting(self, address):
        opened.append(address)
        check(self, address)

    monkeypatch.setattr(Outbound, "_check", counting)
    async with World(tmp_path / "lab") as world, Outbound(allowed=[world.host_port]) as outbound:
        authority = Rfc3161Authority(outbound, world.urls.tsa, load_anchors(world.anchors), SystemClock())
        for n in range(10):
            await authority.timestamp(Digest.of(bytes([n])))
    assert len(opened) == 1


@pytest.mark.parametrize("kind", ["down", "nonsense", "stale", "unknown"])
async def test_the_labs_bad_ocsp_falls_back_to_its_crl(lab, kind):
    world, keys, status, _ = lab
    _, chain, _ = await enrol(world, keys, "natural", SigningAlgorithm.P256)
    world.fault("ocsp", kind)
    check = await status.check(chain)
    check.decide()
    assert {row.source for row in check.rows} == {"crl"}
