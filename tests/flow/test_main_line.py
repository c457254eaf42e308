"""The whole line in one process: documents of many producers, orders of signing, a restart, and what others say."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pypdfium2
import pytest
from PIL import ImageChops, ImageDraw
from pyhanko.pdf_utils.reader import PdfFileReader

from cli.client import Failed
from services.verifier.cli import verify
from tests.support import pdfs
from tests.support.house import House, Signatory, house
from tests.support.judges import judge, passes_at_pyhanko, poppler_calls_valid
from tests.support.waiting import until

PRODUCERS = (
    "typst-pdfa",
    "reportlab",
    "reportlab-acroform",
    "fpdf2",
    "qpdf-object-streams",
    "qpdf-linearised",
    "pdfium",
    "pypdf-rotated",
    "odd-sizes",
    "two-hundred-pages",
    "xref-stream",
    "hybrid",
)
SCALE = 0.4


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_documents_of_many_producers_are_signed_and_everybody_agrees(tmp_path: Path) -> None:
    """EN 319 142-1 clause 6: B-LTA for every signature; pages look as before but for the stamps."""
    signed: dict[str, bytes] = {}
    async with house(tmp_path) as at:
        parties = [await at.citizen(1), await at.firm(0, 2)]
        for name in PRODUCERS:
            signed[name] = await at.signed(pdfs.good()[name], parties)
        root = at.world.pki.root.der
        anchors = at.world.anchors
        assert not at.receiver.refused
        files = []
        for name, pdf in signed.items():
            files.append(tmp_path / f"{name}.pdf")
            await asyncio.to_thread(files[-1].write_bytes, pdf)
        assert await verify(files, anchors=anchors, as_json=True, out=io.StringIO()) == 0
        assert await verify(files[:1], as_json=True, out=io.StringIO()) == 3
    for name, pdf in signed.items():
        assert await passes_at_pyhanko(pdf, root) == 2, name
        await asyncio.to_thread(_looks_as_before, pdfs.good()[name], pdf, name)
    for file in files[:4]:
        assert await asyncio.to_thread(poppler_calls_valid, file) == 2, file


@pytest.mark.judge
@pytest.mark.timeout(300)
async def test_the_outside_judge_passes_the_three_parties_of_the_template_and_of_five_producers(tmp_path: Path) -> None:
    files = []
    async with house(tmp_path) as at:
        parties = [await at.firm(0, 2), await at.citizen(1), await at.firm(1, 3)]
        for name in ("typst-pdfa", "reportlab-acroform", "fpdf2", "qpdf-linearised", "hybrid", "two-hundred-pages"):
            files.append(tmp_path / f"{name}.pdf")
            pdf = await at.signed(pdfs.good()[name], parties, parallel=name == "fpdf2")
            await asyncio.to_thread(files[-1].write_bytes, pdf)
        root = at.world.pki.root.pem.encode()
    found = await asyncio.to_thread(judge, tmp_path, root, files)
    assert found.keys() == {file.name for file in files}
    for name, line in found.items():
        assert line["strict_ok"], (name, line)
        assert [one["level"] for one in line["signatures"]] == ["PAdES-BASELINE-LTA"] * 3, name


async def test_a_restart_in_the_middle_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        parties = [await at.citizen(1), await at.citizen(2)]
        made = await at.send(pdfs.minimal(), parties)
        await at.approve(made["id"], "party-1", parties[0])
        await at.said("DocumentSigned", contract=made["id"])
    async with house(tmp_path) as at:
        await at.approve(made["id"], "party-2", parties[1])
        await at.said("ContractCompleted", contract=made["id"])
        assert len(await at.facts("DocumentSigned", contract=made["id"])) == 2


@pytest.mark.parametrize(
    ("part", "kind"),
    [("tsa", "down"), ("tsa", "nonsense"), ("tsa", "wrong-imprint"), ("tsa", "wrong-nonce"), ("ocsp", "down")],
)
async def test_no_timestamp_no_status_no_release(tmp_path: Path, part: str, kind: str) -> None:
    """Fail closed: nothing is released while a part of the outside fails, and nothing is lost."""
    async with house(tmp_path) as at:
        one = await at.citizen(1)
        made = await at.send(pdfs.minimal(), [one])
        at.world.fault(part, kind)
        second = {"ocsp": "crl", "tsa": "tsa2"}[part]
        at.world.fault(second, kind)
        await at.approve(made["id"], "party-1", one)
        await at.said("SigningRequested", contract=made["id"])
        await asyncio.sleep(1.5)
        assert not await at.facts("DocumentSigned")
        assert not await at.facts("SigningRefused")
        for each in ("tsa", "tsa2", "ocsp", "crl"):
            at.world.fault(each, None)
        await at.said("ContractCompleted", contract=made["id"])


async def test_a_lock_between_approval_and_turn_refuses_and_an_end_voids(tmp_path: Path) -> None:
    """vietnam.md 3.5: locked, the next signature is refused; ended, the unsigned slot is void."""
    async with house(tmp_path) as at:
        one, other = await at.citizen(1), await at.citizen(2)
        made = await at.send(pdfs.minimal(), [one, other])
        at.world.authority.lock(other.identity)
        await at.said("CertificateSuspended", identity=other.identity)
        await at.approve(made["id"], "party-1", one)
        await at.said("SignatureVerified", contract=made["id"])
        with pytest.raises(Failed) as refused:
            await _approve_now(at, made["id"], "party-2", other)
        assert refused.value.status in (403, 409, 422)
        assert len(await at.facts("DocumentSigned", contract=made["id"])) == 1
        at.world.authority.end(other.identity)
        await at.said("ContractVoided", contract=made["id"])
        assert (await at.client.get(f"/v1/contracts/{made['id']}"))["state"] == "voided"


async def test_what_is_not_shown_not_due_or_done_already_is_refused(tmp_path: Path) -> None:
    """Law 20/2023/QH15 Art 22: approval bound to the content; one signature for one slot."""
    async with house(tmp_path) as at:
        one, other = await at.citizen(1), await at.citizen(2)
        made = await at.send(pdfs.minimal(), [one, other])
        with pytest.raises(Failed) as early:
            await _approve_now(at, made["id"], "party-2", other)
        assert early.value.code == "out-of-turn"
        await at.approve(made["id"], "party-1", one)
        await at.said("SignatureVerified", contract=made["id"])
        with pytest.raises(Failed) as twice:
            await _approve_now(at, made["id"], "party-1", one)
        assert twice.value.status in (409, 422)
        with pytest.raises(Failed) as stale:
            await _approve_now(at, made["id"], "party-2", other, shown="sha256:" + "0" * 64)
        assert stale.value.code == "digest-not-shown"
        await at.approve(made["id"], "party-2", other)
        await at.said("ContractCompleted", contract=made["id"])
        assert len(await at.facts("DocumentSigned", contract=made["id"])) == 2


async def _approve_now(at: House, contract: str, slot: str, one: Signatory, shown: str | None = None) -> None:
    shown = shown or (await at.client.get(f"/v1/contracts/{contract}"))["revision"]
    activation = at.world.step_up(one.approver, "sign", shown, f"{contract}/{slot}", act_for=one.act_for)
    await at.client.post(f"/v1/contracts/{contract}/slots/{slot}/confirm", {"activation": activation, "shown": shown})


def _looks_as_before(before: bytes, after: bytes, name: str) -> None:
    """Render both and compare, the signatures' rectangles masked."""
    reader = PdfFileReader(io.BytesIO(after), strict=False)
    boxes: dict[int, list[tuple[float, ...]]] = {}
    pages = [page.get_object() for page in _pages(reader)]
    for field in reader.embedded_regular_signatures:
        widget = field.sig_field
        rectangle = tuple(float(number) for number in widget["/Rect"])
        for number, page in enumerate(pages):
            if any(one.get_object() == widget for one in page.get("/Annots", ())):
                boxes.setdefault(number, []).append(rectangle)
    old, new = pypdfium2.PdfDocument(before), pypdfium2.PdfDocument(after)
    try:
        old.init_forms()
        new.init_forms()
        assert len(old) == len(new), name
        shown = sorted({0, len(old) - 1, *boxes})
        for number in shown:
            if number in boxes and old[number].get_rotation():
                continue  # the stamp's own tests look at rotated pages
            first, second = (doc[number].render(scale=SCALE).to_pil().convert("L") for doc in (old, new))
            left, bottom, _, _ = old[number].get_mediabox()
            for picture in (first, second):
                brush = ImageDraw.Draw(picture)
                for x0, y0, x1, y1 in boxes.get(number, ()):
                    top = picture.height - (y1 - bottom) * SCALE
                    low = picture.height - (y0 - bottom) * SCALE
                    brush.rectangle(((x0 - left) * SCALE - 2, top - 2, (x1 - left) * SCALE + 2, low + 2), fill=0)
            difference = ImageChops.difference(first, second).getbbox()
            assert difference is None, (name, number, difference)
    finally:
        old.close()
        new.close()


def _pages(reader: PdfFileReader) -> list:
    count = int(reader.root["/Pages"]["/Count"])
    return [reader.find_page_for_modification(number)[0] for number in range(count)] if count <= 300 else []


async def test_the_house_says_nothing_twice(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        one = await at.citizen(1)
        await at.signed(pdfs.minimal(), [one])
        events = await at.events()
        assert len({event.id for event in events}) == len(events)

        async def told() -> bool:
            wanted = {str(e.id) for e in events if e.fact.family in ("binding", "contract", "verification")}
            return wanted <= {message.event["id"] for message in at.receiver.messages.values()}

        await until(told, what="every webhook")
