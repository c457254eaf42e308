"""The public page in a real browser: a PDF goes in, an answer comes out, for everybody, and nobody else is asked."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import barriers, page_of, shot
from tests.support.verifiable import Verifier, verifier

WORDS = {
    "passed": ("Đạt", "Passed"),
    "failed": ("Không đạt", "Failed"),
    "undetermined": ("Chưa đủ căn cứ", "Undetermined"),
}
ANSWERS = {
    "two": "passed",
    "changed": "failed",
    "broken": "failed",
    "undetermined": "undetermined",
    "unsigned": "undetermined",
    "nonsense": "undetermined",
}
_DROP = """async ([data, name]) => {
  const octets = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([octets], name, { type: name.endsWith(".pdf") ? "application/pdf" : "text/plain" }));
  const drop = document.getElementById("drop");
  drop.dispatchEvent(new DragEvent("dragenter", { bubbles: true, dataTransfer: given }));
  window.overDrop = drop.classList.contains("over");
  drop.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: given }));
}"""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Verifier]:
    async with verifier(tmp_path, upload_rate="1000 per minute", upload_limit=1_000_000) as found:
        yield found


def paper(data: bytes, name: str = "hợp-đồng.pdf") -> dict:
    return {"name": name, "mimeType": "application/pdf", "buffer": data}


async def dropped(page: Page, data: bytes, name: str = "hợp-đồng.pdf") -> None:
    await page.evaluate(_DROP, [base64.b64encode(data).decode(), name])


async def chosen(page: Page, data: bytes) -> None:
    await page.locator("#file").set_input_files(paper(data))
    await page.locator("#submit").click()


async def fits(page: Page) -> bool:
    return await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_a_dropped_file_is_answered(here: Verifier) -> None:
    async with page_of() as page:
        await page.goto(f"{here.url}/verify")
        await shot(page, "verify-start")
        await dropped(page, here.files.two)
        await expect(page.locator("h1")).to_have_text("Đạt", use_inner_text=True, timeout=20_000)
        verdict = page.locator(".verdict")
        await expect(verdict).to_contain_text("Có thể tin cậy tài liệu này: 2 chữ ký đều hợp lệ")
        await expect(verdict).to_contain_text("Nguyễn Thị Phương Thảo đã ký; dấu thời gian chứng minh")
        await expect(verdict).to_contain_text("Trần Văn An")
        sizes = "[...document.querySelectorAll('h1, h2, p')].map((one) => parseFloat(getComputedStyle(one).fontSize))"
        largest = await page.evaluate(f"Math.max(...{sizes})")
        assert await page.evaluate("parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)") == largest
        for letter in "abcdefg":
            await expect(page.locator(".eight").first).to_contain_text(f"({letter}) ")
        for number in ("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "2.1", "2.2", "2.3", "2.4"):
            await expect(page.locator("article .number", has_text=number).first).to_be_visible()
        await expect(page.locator(".chain").first).to_contain_text("Gốc thử nghiệm")
        images = page.locator("#pages ~ .sheets img")
        await expect(images).to_have_count(2)
        assert await images.first.evaluate("(image) => image.complete && image.naturalWidth > 300")
        await shot(page, "verify-passed")


async def test_by_keyboard_alone_and_in_english(here: Verifier) -> None:
    async with page_of() as page:
        await page.goto(f"{here.url}/verify")
        for _ in range(2):
            await page.keyboard.press("Tab")
        await expect(page.locator(".switch a")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("Can I rely on this document?")
        await page.wait_for_load_state()  # on a busy machine keys come before the page is whole
        assert await page.evaluate("document.documentElement.lang") == "en"
        for _ in range(3):
            await page.keyboard.press("Tab")
        await expect(page.locator("#file")).to_be_focused()
        async with page.expect_file_chooser() as asked:
            await page.keyboard.press("Space")
        await (await asked.value).set_files(paper(here.files.passed))
        await expect(page.locator("#chosen")).to_have_text("hợp-đồng.pdf")
        await page.keyboard.press("Tab")
        await expect(page.locator("#submit")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("Passed", use_inner_text=True, timeout=20_000)
        await expect(page.locator("h1")).to_be_visible()
        assert await page.evaluate("document.documentElement.lang") == "en"
        # On the result the switch is a pair of radio buttons, and what is chosen is kept for the next file.
        for _ in range(2):
            await page.keyboard.press("Tab")
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("h1")).to_have_text("Đạt", use_inner_text=True)
        assert await page.evaluate("document.documentElement.lang") == "vi"
        await page.locator("a.button").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("Tài liệu này có đáng tin không?")


async def test_without_scripts_the_form_does_it_all(here: Verifier) -> None:
    async with page_of(scripts=False) as page:
        await page.goto(f"{here.url}/verify?lang=en")
        await expect(page.locator("#pick")).to_be_hidden()
        await expect(page.locator("#file")).to_be_visible()
        await shot(page, "verify-start-no-script")
        await chosen(page, here.files.changed)
        await expect(page.locator("h1")).to_have_text("Failed", use_inner_text=True, timeout=20_000)
        await page.locator('label[for="vi"]').click()
        await expect(page.locator("h1")).to_have_text("Không đạt", use_inner_text=True)


async def test_what_changed_is_framed_on_both_images_and_told_in_words(here: Verifier) -> None:
    async with page_of() as page:
        await page.goto(f"{here.url}/verify")
        await chosen(page, here.files.changed)
        pair = page.locator(".pair")
        await expect(pair).to_have_count(1, timeout=20_000)
        await expect(pair.locator("h4")).to_have_text("Trang 1 trông khác đi", use_inner_text=True)
        await expect(pair.locator("svg.frames rect")).to_have_count(2)
        await expect(pair.locator("img")).to_have_count(4)
        await pair.locator("summary").click()
        await expect(pair.locator("ol li").first).to_contain_text("cách trái")
        boxes = [await pair.locator(".close img").nth(index).bounding_box() for index in range(2)]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["y"] == boxes[1]["y"], "side by side"
        await shot(page, "verify-changed")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("lang", ["vi", "en"])
async def test_no_barrier_in_any_state(here: Verifier, lang: str) -> None:
    """WCAG 2.2 AA, as far as axe-core can tell; on a phone in the dark and on a desk in the light."""
    async with page_of(width=320, height=640, scheme="dark") as phone, page_of() as desk:
        for page, where in ((phone, "phone-dark"), (desk, "desk-light")):
            await page.goto(f"{here.url}/verify?lang={lang}")
            assert await barriers(page) == []
            assert await fits(page), where
            await shot(page, f"verify-start-{lang}-{where}")
            for name, verdict in ANSWERS.items():
                await page.goto(f"{here.url}/verify")
                await chosen(page, getattr(here.files, name))
                word = WORDS[verdict][lang == "en"]
                await expect(page.locator("h1")).to_have_text(word, use_inner_text=True, timeout=20_000)
                await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                assert await barriers(page) == [], (name, where)
                assert await fits(page), (name, where)
                await shot(page, f"verify-{name}-{lang}-{where}")


@pytest.mark.parametrize("lang", ["vi", "en"])
async def test_a_refusal_is_a_page_that_says_what_to_do(tmp_path: Path, lang: str) -> None:
    async with verifier(tmp_path, upload_rate="1 per hour") as here, page_of(width=360, height=740) as page:
        for _ in range(2):
            await page.goto(f"{here.url}/verify?lang={lang}")
            await chosen(page, here.files.nonsense)
            await page.wait_for_load_state()
        alert = page.get_by_role("alert")
        await expect(alert).to_contain_text({"vi": "Hãy thử lại sau", "en": "Try again in"}[lang], timeout=20_000)
        await expect(alert).to_contain_text("too-many-requests")
        assert await barriers(page) == []
        assert await fits(page)
        await shot(page, f"verify-too-many-{lang}")


async def test_waiting_is_said_and_then_that_it_takes_long(here: Verifier) -> None:
    async with page_of() as page:
        await page.clock.install()
        await page.goto(f"{here.url}/verify")

        # As if the answer did not come: the browser would wait for it, and Playwright with it.
        await page.evaluate("document.forms[0].addEventListener('submit', (event) => event.preventDefault())")
        await page.locator("#file").set_input_files(paper(here.files.unsigned))
        await page.locator("#submit").click()
        await expect(page.locator("#told")).to_contain_text("Đang gửi và kiểm tra: hợp-đồng.pdf")
        await expect(page.locator("#upload")).to_have_attribute("aria-busy", "true")
        await expect(page.locator("#submit")).to_be_disabled()
        await page.clock.fast_forward(9_000)
        await expect(page.locator("#told")).to_contain_text("Vẫn đang kiểm tra")
        assert await barriers(page) == []
        await shot(page, "verify-waiting")


@pytest.mark.parametrize(
    ("data", "name", "told"),
    [
        (b"x" * 1_000_001, "big.pdf", "Tệp lớn hơn 976 kB"),
        (b"x", "notes.txt", "Đây không phải tệp PDF"),
    ],
)
async def test_a_wrong_file_is_refused_before_it_is_sent(here: Verifier, data: bytes, name: str, told: str) -> None:
    async with page_of() as page:
        await page.goto(f"{here.url}/verify")
        await dropped(page, data, name)
        await expect(page.locator("#told")).to_contain_text(told)
        assert page.url == f"{here.url}/verify"


async def test_the_report_prints_whole(here: Verifier) -> None:
    async with page_of() as page:
        await page.goto(f"{here.url}/verify")
        await chosen(page, here.files.two)
        await expect(page.locator("h1")).to_have_text("Đạt", use_inner_text=True, timeout=20_000)
        await page.emulate_media(media="print")
        await expect(page.locator(".switch")).to_be_hidden()
        await expect(page.locator("a.button")).to_be_hidden()
        await expect(page.locator("details .clause").first).to_be_visible()
        assert (await page.pdf()).startswith(b"%PDF-")
        await shot(page, "verify-print")


async def test_at_200_percent_nothing_is_cut(here: Verifier) -> None:
    """WCAG 1.4.4 and 1.4.10: a window of 1280 pixels at 200 % has room for 640 CSS pixels."""
    async with page_of(width=640, height=400) as page:
        await page.goto(f"{here.url}/verify")
        assert await fits(page)
        await chosen(page, here.files.changed)
        await expect(page.locator("h1")).to_have_text("Không đạt", use_inner_text=True, timeout=20_000)
        assert await fits(page)


async def test_a_sealed_report_is_downloaded_where_there_is_a_seal(tmp_path: Path) -> None:
    async with verifier(tmp_path, seal=True) as here, page_of() as page:
        await page.goto(f"{here.url}/verify?lang=en")
        await page.locator("#file").set_input_files(paper(here.files.passed))
        async with page.expect_download(timeout=30_000) as found:
            await page.get_by_role("button", name="sealed PDF").click()
        kept = await (await found.value).path()
        assert (await found.value).suggested_filename == "report.pdf"
        assert kept.read_bytes().startswith(b"%PDF-")
        assert b"/ByteRange" in kept.read_bytes()
        await expect(page.locator("#told")).to_contain_text("is downloaded")
        await expect(page.locator("#submit")).to_be_enabled()
        assert await barriers(page) == []
        await shot(page, "verify-start-with-seal")


async def test_without_a_seal_none_is_offered_and_a_stray_request_is_told(here: Verifier) -> None:
    async with page_of() as page:
        await page.goto(f"{here.url}/verify")
        await expect(page.locator("#paper")).to_have_count(0)
        await page.evaluate("document.getElementById('upload').action = '/verify?lang=vi&as=pdf'")
        await chosen(page, here.files.unsigned)
        await expect(page.get_by_role("alert")).to_contain_text("chưa có khóa niêm phong", timeout=20_000)
