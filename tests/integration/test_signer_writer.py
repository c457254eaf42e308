"""The PDF writer on many kinds of files: what was there stays, what is added is right, what cannot be is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from PIL import ImageChops

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_world import desk, order

from events.contract import Placement
from events.errors import Refused
from events.values import BaselineLevel
from services.signer.adapters import inspection
from services.signer.adapters.documents import open_for_update
from services.signer.adapters.geometry import Page
from services.signer.adapters.pages import pages_of
from services.signer.model import Box, SigningAlgorithm


def render(pdf: bytes, page: int, *, forms: bool = True):
    """One page as an image, with or without form fields."""
    document = pypdfium2.PdfDocument(pdf)
    if forms:
        document.init_forms()
    image = document[page].render(scale=1, may_draw_forms=forms).to_pil().convert("L")
    document.close()
    return image


def stamp_rects(pdf: bytes) -> list[tuple[int, list[float]]]:
    """Page index and rectangle of each visible signature widget."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        return [
            (number, [float(v) for v in annotation.Rect])
            for number, page in enumerate(document.pages)
            for annotation in page.get("/Annots", [])
            if annotation.get("/FT") == "/Sig" and "/AP" in annotation
        ]


@pytest.mark.parametrize("kind", sorted(pdfs.good()))
async def test_two_parties_sign_every_kind_of_file(tmp_path, kind):
    base = pdfs.good()[kind]
    async with desk(tmp_path) as at:
        buyer = await at.party(SigningAlgorithm.P256)
        seller = await at.party(SigningAlgorithm.P256, "Đặng Trần Hoàng Quân", "Công ty Cổ phần Điện lực Hoà Bình")
        once = await buyer.sign(base, "buyer", 0)
        twice = await seller.sign(once, "seller", 1)
    assert once.startswith(base)
    assert twice.startswith(once)
    with pikepdf.open(io.BytesIO(twice)) as document, pikepdf.open(io.BytesIO(base)) as original:
        assert len(document.pages) == len(original.pages)
        for page, before in zip(document.pages, original.pages, strict=True):
            contents = [page.get("/Contents"), before.get("/Contents")]
            assert (contents[0] is None) == (contents[1] is None)
        problems = document.check_pdf_syntax() if len(document.pages) < 50 else []
        before = original.check_pdf_syntax() if len(document.pages) < 50 else []
        assert len(problems) <= len(before), problems
    assert len(stamp_rects(twice)) >= 2


@pytest.mark.parametrize("kind", sorted(pdfs.good()))
async def test_pages_look_the_same_but_for_the_stamps(tmp_path, kind):
    base = pdfs.good()[kind]
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        signed = await party.sign(base, level=BaselineLevel.B)
    stamped = {page for page, _ in stamp_rects(signed)}
    count = len(pypdfium2.PdfDocument(base))
    for page in {0, count - 1, *stamped}:
        # Without form fields nothing may differ; with them only the stamped page does.
        assert (
            ImageChops.difference(render(base, page, forms=False), render(signed, page, forms=False)).getbbox() is None
        )
        changed = ImageChops.difference(render(base, page), render(signed, page)).getbbox()
        assert (changed is not None) == (page in stamped)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
async def test_a_stamp_stands_upright_where_it_was_placed(tmp_path, rotation):
    """Placement speaks of the page as it is displayed; ISO 32000-2 clause 12.5.5 turns the appearance."""
    document = pikepdf.open(io.BytesIO(pdfs.minimal()))
    document.pages[0].MediaBox = [-20, 30, 580, 430]
    document.pages[0].CropBox = [0, 40, 560, 420]
    document.pages[0].Rotate = rotation
    document.pages[0].Contents = document.make_stream(b"")
    out = io.BytesIO()
    document.save(out)
    base = out.getvalue()
    place = Placement(page=1, x=60, y=50, width=150, height=60)
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        signed = await party.sign(base, level=BaselineLevel.B, placement=place)
    image = render(signed, 0)
    wide, high = (380, 560) if rotation in (90, 270) else (560, 380)
    assert image.size == (wide, high)
    box = ImageChops.difference(image, render(base, 0)).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert abs(left - 60) <= 1.5
    assert right <= 211
    assert high - 50 - 60 - 1.5 <= top
    assert bottom <= high - 50 + 1.5
    # The bar at the left edge of an upright stamp is dark from top to bottom; no other edge is.
    strip = image.crop((60, high - 50 - 58, 62, high - 50 - 2))
    assert max(strip.get_flattened_data()) < 200


async def test_a_very_long_name_is_written_whole(tmp_path):
    name = "Nguyễn Phước Tôn Nữ Thị Hồng Ngọc Quỳnh Như Diễm Trinh Phương Thảo"
    firm = "Tổng Công ty Cổ phần Đầu tư Phát triển Nông nghiệp Thương mại Dịch vụ"
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256, name[:64], firm[:64])
        signed = await party.sign(pdfs.minimal(), level=BaselineLevel.B)
    with pikepdf.open(io.BytesIO(signed)) as document:
        widget = next(a for a in document.pages[0].Annots if a.get("/FT") == "/Sig")
        form = widget.AP.N
        assert "/Group" not in form
        assert "/ExtGState" not in form.Resources
        assert b"FontFile2" in b" ".join(
            str(key).encode() for key in form.Resources.Font.F.DescendantFonts[0].FontDescriptor
        )
        document.pages[0].Annots = document.make_indirect(pikepdf.Array([]))
        form.Subtype = pikepdf.Name.Form
        document.pages[0].Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(S=form))
        document.pages[0].Contents = document.make_stream(b"/S Do")
        out = io.BytesIO()
        document.save(out)
    text = pypdfium2.PdfDocument(out.getvalue())[0].get_textpage().get_text_range()
    said = " ".join(text.split())
    for word in f"{name[:64]} {firm[:64]}".split():
        assert word in said
    assert "(GMT+7)" in said


JUDGED_AT_INTAKE = {"pdf-too-large", "pdf-page-size", "pdf-signed", "pdf-too-many-pages"}
SAID = {
    "not-a-pdf", "pdf-damaged", "pdf-encrypted", "pdf-no-changes-allowed", "pdf-no-pages", "pdf-too-complex", "pdf-xfa",
}  # fmt: skip
TOLERABLE = {"bytes-after", "one-wrong-offset"}


@pytest.mark.parametrize("kind", sorted(kind for kind, (_, code) in pdfs.bad().items() if code not in JUDGED_AT_INTAKE))
async def test_a_file_that_cannot_be_signed_is_refused(tmp_path, kind):
    data, _ = pdfs.bad()[kind]
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        if kind in TOLERABLE:
            assert (await party.sign(data, level=BaselineLevel.B)).startswith(data)
            return
        with pytest.raises(Refused) as found:
            await party.sign(data, level=BaselineLevel.B)
    assert found.value.code in SAID


async def test_a_slot_is_signed_once(tmp_path):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        once = await party.sign(pdfs.minimal(), "buyer")
        with pytest.raises(Refused, match="slot-already-signed"):
            await party.sign(once, "buyer")


@pytest.mark.parametrize(
    ("placement", "code"),
    [
        (Placement(page=2, x=0, y=0, width=100, height=40), "placement-page"),
        (Placement(page=1, x=5000, y=0, width=100, height=40), "placement-outside"),
    ],
)
async def test_a_placement_off_the_paper_is_refused(tmp_path, placement, code):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        with pytest.raises(Refused) as found:
            await party.sign(pdfs.minimal(), placement=placement)
        assert found.value.code == code


async def test_a_placement_over_another_signature_is_refused(tmp_path):
    """A validator reports overlapping elements: they are how one signature's appearance is hidden by another's."""
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        place = Placement(page=1, x=50, y=50, width=150, height=60)
        once = await party.sign(pdfs.minimal(), "buyer", placement=place)
        with pytest.raises(Refused, match="placement-taken"):
            await party.sign(once, "seller", placement=place)
        beside = Placement(page=1, x=200, y=50, width=150, height=60)
        assert (await party.sign(once, "seller", placement=beside)).startswith(once)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_what_is_placed_is_displayed_there(rotation):
    page = Page(3, 0, -20.0, 30.0, 580.0, 430.0, rotation, 2.0)
    box = Box(60, 50, 150, 70)
    found = page.displayed(page.place(box))
    assert (found.x, found.y, found.width, found.height) == pytest.approx((60, 50, 150, 70))


async def test_a_certificate_of_another_key_never_leaves_the_house(tmp_path):
    """House habit 3 and the self-check: the signature must verify under the certificate that goes with it."""
    async with desk(tmp_path) as at:
        one, other = await at.party(SigningAlgorithm.P256), await at.party(SigningAlgorithm.P256)
        one.chain = other.chain
        with pytest.raises(Refused, match="self-check"):
            await one.sign(pdfs.minimal())


async def test_another_base_than_the_permits_is_refused(tmp_path):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        ordered = order(pdfs.minimal("the agreed text"), check.path, party.credential, party.algorithm)
        with pytest.raises(Refused, match="not-what-was-authorised"):
            await at.writer.sign(pdfs.minimal("another text"), ordered, check.evidence)


@pytest.mark.parametrize("where", ["before the signature", "after it", "in the hole"])
async def test_the_self_check_sees_one_changed_octet(tmp_path, where):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        signed = bytearray(await party.sign(base, level=BaselineLevel.B))
        options = {"field": "buyer", "certificate": party.chain[0], "level": BaselineLevel.B}
        inspection.inspect(bytes(signed), base, **options)
        hole = signed.index(b"/Contents <") + 11
        ends = hole + len(bytes(signed[hole : signed.index(b">", hole)]).rstrip(b"0"))
        place = {"before the signature": len(base) + 8, "after it": len(signed) - 3, "in the hole": ends - 20}[where]
        signed[place] ^= 1
        with pytest.raises(Refused, match="self-check"):
            inspection.inspect(bytes(signed), base, **options)
        with pytest.raises(Refused, match="self-check"):
            inspection.inspect(bytes(signed), base[:-1] + b"!", **options)


def test_pages_are_counted_as_they_are():
    document = pikepdf.new()
    for _ in range(7):
        document.add_blank_page(page_size=(300, 200))
    document.Root.Pages.Count = 99
    out = io.BytesIO()
    document.save(out)
    assert [page.size for page in pages_of(open_for_update(out.getvalue()))] == [(300.0, 200.0)] * 7
