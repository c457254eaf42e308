"""Page images from the sandbox: what changed is framed, what did not is not, and a bomb ends within its limits."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge
from verifiable import repainted

from services.verifier.adapters import pdfium
from services.verifier.pictures import STATES, Pictures, fewer, states
from services.verifier.sandbox import Sandbox


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


async def drawn(data: bytes, *ends: int) -> Pictures:
    async with Sandbox() as sandbox:
        return await sandbox.draw(data, [*ends, len(data)])


async def test_a_page_is_an_image_of_its_shape():
    pictures = await drawn(pdfs.good()["odd-sizes"])
    assert pictures.fault is None
    assert pictures.pages == len(pictures.images) == 7
    for each in pictures.images:
        image = Image.open(io.BytesIO(base64.b64decode(each.image)))
        assert (image.format, image.size) == ("WEBP", (each.width, each.height))
        assert each.width <= pdfium.WIDTH + 1
        assert each.height <= pdfium.HEIGHT + 1


async def test_what_was_repainted_after_the_signature_is_framed(forge):
    signed = forge.sign(pdfs.minimal("Rent: 900"), forge.signer(), timestamp="ok")
    pictures = await drawn(repainted(signed, "Rent: 9000"), len(signed))
    (step,) = pictures.steps
    (page,) = step.pages
    assert (page.page, page.kind) == (1, "changed")
    assert page.before is not None
    assert page.after is not None
    assert page.before.image != page.after.image
    assert 1 <= len(page.frames) <= pdfium.FRAMES
    assert page.closer is not None
    assert page.closer[0].image != page.closer[1].image
    assert page.closer[0].width == pytest.approx(1.2 * pdfium.WIDTH, abs=2), "six tenths of the page at twice its size"
    covered = sum(frame.width * frame.height for frame in page.frames)
    assert 0 < covered < 300_000, "a frame around the words, not around the page"


async def test_what_looks_the_same_has_no_frame(forge):
    signed = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    pictures = await drawn(forge.stamp(signed), len(signed))
    (step,) = pictures.steps
    assert step.comparable
    assert step.pages == ()


async def test_only_so_many_pages_are_shown_and_the_count_is_told():
    pictures = await drawn(pdfs.good()["two-hundred-pages"])
    assert (pictures.pages, len(pictures.images), pictures.compared) == (200, pdfium.SHOWN, pdfium.COMPARED)


@pytest.mark.parametrize("data", [b"hello", b"%PDF-1.7\n" + b"\0" * 900, b""])
async def test_what_cannot_be_drawn_says_so(data):
    assert (await drawn(data)).fault == "cannot-be-drawn"


@pytest.mark.parametrize("name", sorted(pdfs.bad()))
async def test_a_damaged_file_costs_no_more_than_its_limits(name):
    pictures = await drawn(pdfs.bad()[name][0])
    assert pictures.fault or pictures.pages >= 0


async def test_the_states_are_what_each_signer_signed(forge):
    signed = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    twice = forge.sign(signed, forge.signer("Trần Văn An"), slot="seller", timestamp="ok")
    async with Sandbox() as sandbox:
        report = await sandbox.judge(twice, file="x.pdf", anchors=forge.anchors, now=forge.now)
    assert states(report) == (len(signed), len(twice))


def test_of_many_states_the_oldest_and_the_newest_are_kept():
    found = fewer(range(100, 120))
    assert len(found) == STATES
    assert (found[0], found[-1]) == (100, 119)
