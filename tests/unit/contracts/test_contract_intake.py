"""Uploads: real-world PDFs come in, everything else is refused with one clear reason, and bombs hurt nobody."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pypdfium2
import pytest

from events.errors import Refused, Unavailable
from services.contracts.adapters import pdf_reading
from services.contracts.adapters.pdf_intake import PdfIntake
from services.contracts.ports import Limits
from tests.support import pdfs, two_readings


@pytest.mark.parametrize("name", sorted(pdfs.good()))
async def test_real_world_pdfs_are_admitted_with_the_page_sizes_a_viewer_shows(name):
    pdf = pdfs.good()[name]
    found = pdf_reading.read(pdf, Limits())
    with pypdfium2.PdfDocument(pdf) as shown:
        assert len(found.pages) == len(shown)
        for sheet, page in zip(found.pages, shown, strict=True):
            assert (sheet.width, sheet.height) == pytest.approx(page.get_size(), abs=0.01)


@pytest.mark.parametrize("name", sorted(set(pdfs.bad()) - {"xref-bomb", "object-stream-bomb", "nested-arrays"}))
async def test_what_cannot_be_signed_safely_is_refused_with_its_reason(name):
    pdf, code = pdfs.bad()[name]
    with pytest.raises(Refused) as told:
        pdf_reading.read(pdf, Limits())
    assert told.value.code == code, str(told.value)
    assert told.value.found
    assert told.value.expected
    assert told.value.remedy


@pytest.mark.parametrize("kind", [*two_readings.KINDS, *two_readings.UNSEEN])
async def test_what_is_two_documents_is_no_contract(kind):
    """What a party was shown and what is written anew by the signature must be one document in every viewer."""
    with pytest.raises(Refused, match="pdf-damaged"):
        pdf_reading.read(two_readings.made(kind), Limits())


async def test_the_sandbox_says_the_same_and_survives_bombs_and_goes_on():
    async with PdfIntake(Limits(seconds=2.0), processes=1) as intake:
        for name in ("xref-bomb", "object-stream-bomb", "nested-arrays", "encrypted", "text", "huge"):
            pdf, code = pdfs.bad()[name]
            with pytest.raises(Refused) as told:
                await intake.admit(pdf)
            assert told.value.code == code, (name, str(told.value))
            assert len((await intake.admit(pdfs.minimal())).pages) == 1


async def test_several_uploads_at_once_each_get_their_own_answer():
    async with PdfIntake(processes=2) as intake:
        names = ["two-hundred-pages", "by-hand", "rotated", "odd-sizes", "reportlab"] * 3
        found = await asyncio.gather(*(intake.admit(pdfs.good()[name]) for name in names))
        assert [len(each.pages) for each in found] == [200, 1, 5, 7, 2] * 3


async def test_an_upload_given_up_half_way_does_not_leave_its_answer_to_the_next():
    async with PdfIntake(processes=1) as intake:
        await intake.admit(pdfs.minimal())
        given_up = asyncio.create_task(intake.admit(pdfs.good()["two-hundred-pages"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert len((await intake.admit(pdfs.good()["rotated"])).pages) == 5


async def test_a_file_signed_elsewhere_comes_in_only_where_that_is_allowed():
    signed, _ = pdfs.bad()["signed-elsewhere"]
    assert pdf_reading.read(signed, Limits(signed_before=True)).signatures == 1
    certified, code = pdfs.bad()["certified-without-changes"]
    with pytest.raises(Refused, match=code):
        pdf_reading.read(certified, Limits(signed_before=True))


async def test_a_form_is_admitted_and_said_to_be_one():
    assert pdf_reading.read(pdfs.good()["reportlab-acroform"], Limits()).form
    assert not pdf_reading.read(pdfs.good()["reportlab"], Limits()).form
    assert pdf_reading.read(pdfs.good()["empty-signature-field"], Limits()).signatures == 0


async def test_page_and_object_limits_are_the_settings_own():
    with pytest.raises(Refused, match="pdf-too-many-pages"):
        pdf_reading.read(pdfs.good()["two-hundred-pages"], Limits(pages=199))
    with pytest.raises(Refused, match="pdf-too-complex"):
        pdf_reading.read(pdfs.good()["two-hundred-pages"], Limits(objects=100))


async def test_a_sandbox_that_dies_is_a_wait_and_the_next_upload_finds_a_new_one():
    async with PdfIntake(processes=1) as intake:
        await intake.admit(pdfs.minimal())
        (process,) = intake._running
        os.kill(process.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(intake.admit(pdfs.minimal()))
        await asyncio.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="intake-unavailable"):
            await waiting
        assert len((await intake.admit(pdfs.minimal())).pages) == 1


async def test_the_sandbox_is_told_no_secret_of_the_environment(monkeypatch):
    monkeypatch.setenv("ANTIN_SIGNER__PASSPHRASE", "secret")
    async with PdfIntake(processes=1) as intake:
        await intake.admit(pdfs.minimal())
        (process,) = intake._running
        told = await asyncio.to_thread(Path(f"/proc/{process.pid}/environ").read_bytes)
        assert b"secret" not in told
