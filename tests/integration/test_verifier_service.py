"""The verifier as a service on the real runtime: what it hears, what it says, what it shows, what it never releases."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from verifier_house import CONTRACT, KEY, house

from events.values import BaselineLevel, ContractId, Digest
from events.verification import SignatureRejected, SignatureVerified
from services.runtime import migrate
from services.runtime.database import Database
from services.signer.model import SigningAlgorithm
from services.verifier.adapters import store
from services.verifier.model import FileReport, Verdict


async def test_a_good_signature_is_verified_and_its_report_can_be_read(tmp_path):
    async with house(tmp_path) as here, aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:
        party = await here.desk.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        signed = await party.sign(base)
        claim = await here.claim(base, signed, party)
        (said,) = await here.rulings(1)
        assert isinstance(said, SignatureVerified), said
        assert (said.level, said.signatures, said.signed) == (BaselineLevel.LTA, 1, claim.signed)
        report = FileReport.model_validate_json(await here.platform.blobs.fetch(said.report))
        assert report.verdict is Verdict.PASSED
        place = f"{here.url}/v1/contracts/{CONTRACT}/revisions/{claim.signed}/report"
        async with http.get(place) as answer:
            told = await answer.json()
        assert told["verdict"] == "passed"
        assert told["signatures"][0]["level"] == "PAdES-BASELINE-LTA"
        async with http.get(place + ".html") as answer:
            page = await answer.text()
            assert "style-src 'sha256-" in answer.headers["Content-Security-Policy"]
        assert "Nguyễn Thị Phương Thảo" in page
        assert 'src="data:image/webp;base64,' in page, "its pages are drawn"
        async with http.get(place + ".xml") as answer:
            assert answer.content_type == "application/xml"
            assert b"urn:etsi:019102:mainindication:total-passed" in await answer.read()
        async with http.get(place + ".pdf") as answer:
            assert (answer.status, answer.content_type) == (406, "application/problem+json")
            assert (await answer.json())["type"].endswith("no-seal")
        async with http.get(place.replace(claim.signed.hex, "0" * 64)) as answer:
            assert answer.status == 404
        async with http.get(f"{here.url}/v1/contracts/x/revisions/y/report") as answer:
            assert answer.status == 404


async def test_three_parties_in_turn_are_each_verified(tmp_path):
    async with house(tmp_path) as here:
        pdf = pdfs.good()["typst-pdfa"]
        for index, slot in enumerate(("first", "second", "third")):
            party = await here.desk.party(SigningAlgorithm.P256, f"Người {index}")
            signed = await party.sign(pdf, slot=slot, index=index)
            await here.claim(pdf, signed, party, slot=slot)
            said = (await here.rulings(index + 1))[index]
            assert isinstance(said, SignatureVerified), said
            assert said.signatures == index + 1
            pdf = signed


async def _attacks(here, party, base: bytes, signed: bytes):
    from io import BytesIO

    from pyhanko.pdf_utils import generic
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    other = await here.desk.party(SigningAlgorithm.P256, "Kẻ khác")
    swapped = IncrementalPdfFileWriter(BytesIO(base))
    page = swapped.root["/Pages"]["/Kids"][0]
    stream = generic.StreamObject(stream_data=b"BT /F1 12 Tf 20 20 Td (Rent: 9000) Tj ET")
    page[generic.NameObject("/Contents")] = swapped.add_object(stream)
    swapped.update_container(page)
    out = BytesIO()
    swapped.write(out)
    return [
        ("not-what-was-agreed", pdfs.minimal("Rent: 900"), signed, {}),
        ("no-new-signature", base, base, {}),
        ("wrong-certificate", base, signed, {"certificate": Digest.of(b"another")}),
        ("wrong-field", base, signed, {"field": "seller"}),
        ("changed-after-signing", base, signed + b"x", {}),
        ("several-new-signatures", base, await other.sign(signed, slot="other", index=1), {}),
        ("more-than-a-signature", base, await party.sign(out.getvalue()), {}),
        ("level-not-reached", base, await party.sign(base, level=BaselineLevel.LT), {}),
        ("cannot-be-verified", base, base[:-6] + b"\0" * 600, {"field": "x"}),
    ]


async def test_whatever_is_not_what_was_asked_is_rejected_and_says_why(tmp_path):
    """Decree 23/2025/ND-CP Art 16; the claim only tells where to look: the file itself is judged."""
    async with house(tmp_path) as here:
        party = await here.desk.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        signed = await party.sign(base)
        cases = await _attacks(here, party, base, signed)
        for number, (_, agreed, given, changed) in enumerate(cases):
            await here.claim(agreed, given, party, contract=ContractId(str(uuid.UUID(int=100 + number))), **changed)
        said = {fact.contract: fact for fact in await here.rulings(len(cases))}
        for number, (reason, *_) in enumerate(cases):
            fact = said[ContractId(str(uuid.UUID(int=100 + number)))]
            assert isinstance(fact, SignatureRejected), (reason, fact)
            if reason == "cannot-be-verified":
                assert fact.reason in ("cannot-be-verified", "not-what-was-agreed")
            else:
                assert fact.reason == reason
            FileReport.model_validate_json(await here.platform.blobs.fetch(fact.report))


async def test_a_level_without_status_data_is_judged_with_fetched_ones(tmp_path):
    async with house(tmp_path) as here:
        party = await here.desk.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        signed = await party.sign(base, level=BaselineLevel.T)
        await here.claim(base, signed, party, level=BaselineLevel.T)
        (said,) = await here.rulings(1)
        assert isinstance(said, SignatureVerified), said
        assert said.level is BaselineLevel.T


async def test_a_responder_that_is_down_delays_the_verdict_and_does_not_spoil_it(tmp_path):
    """Unknown status is no verdict: nothing is released, nothing is voided, it is tried again."""
    async with house(tmp_path) as here:
        party = await here.desk.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        signed = await party.sign(base, level=BaselineLevel.T)
        here.desk.world.ocsp_mode = here.desk.world.crl_mode = "down"
        await here.claim(base, signed, party, level=BaselineLevel.T)
        with pytest.raises(TimeoutError):
            await here.rulings(1, seconds=2.5)
        here.desk.world.ocsp_mode = here.desk.world.crl_mode = "ok"
        (said,) = await here.rulings(1)
        assert isinstance(said, SignatureVerified)


async def test_an_upload_is_judged_and_not_kept(tmp_path):
    async with house(tmp_path) as here, aiohttp.ClientSession() as http:
        party = await here.desk.party(SigningAlgorithm.P256)
        signed = await party.sign(pdfs.minimal())
        place, pdf = f"{here.url}/v1/verifications", {"Content-Type": "application/pdf"}
        async with http.post(place, data=signed, headers=pdf) as answer:
            assert answer.status == 200
            assert (await answer.json())["verdict"] == "passed"
        async with http.post(place, data=signed, headers=pdf | {"Accept": "text/html"}) as answer:
            assert "Có thể tin cậy" in await answer.text()
        async with http.post(place, data=signed, headers=pdf | {"Accept": "application/xml"}) as answer:
            assert answer.content_type == "application/xml"
            assert b"total-passed" in await answer.read()
        async with http.post(place, data=signed, headers=pdf | {"Accept": "application/pdf"}) as answer:
            assert answer.status == 406, "no seal is set up here"
        async with http.post(place, data=b"hello", headers=pdf) as answer:
            assert (await answer.json())["integrity"] == "unreadable"
        async with http.post(place, data=signed, headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 415
        kept = [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()]
        assert not kept


async def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    await migrate.upgrade(database, [store.schema])
    assert await migrate.differences(database, store.schema) == []
    await database.close()
