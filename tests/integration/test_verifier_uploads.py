"""What anybody may ask, over HTTP: forms and languages of the answer, turns at the door, sizes, nothing on disk."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.verifiable import Verifier, verifier

PDF = {"Content-Type": "application/pdf"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def form(data: bytes, name: str = "hợp đồng.pdf") -> aiohttp.FormData:
    found = aiohttp.FormData(quote_fields=False)
    found.add_field("file", data, filename=name, content_type="application/pdf")
    return found


async def problem(answer: aiohttp.ClientResponse) -> dict:
    assert answer.content_type == "application/problem+json"
    return json.loads(await answer.text())


async def test_a_program_gets_json_and_a_person_a_page(tmp_path, http):
    async with verifier(tmp_path) as here:
        place = f"{here.url}/v1/verifications"
        for accept, media in (
            ("", "application/json"),
            ("*/*", "application/json"),
            ("application/*;q=0.5", "application/json"),
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ):
            async with http.post(place, data=here.files.unsigned, headers=PDF | {"Accept": accept}) as answer:
                assert (answer.status, answer.content_type) == (200, media)
                assert "Accept" in answer.headers["Vary"]
        async with http.post(place, data=here.files.unsigned, headers=PDF | {"Accept": "image/png"}) as answer:
            assert answer.status == 406
            assert (await problem(answer))["expected"].startswith("application/json or text/html")


async def test_the_language_is_asked_for_or_negotiated(tmp_path, http):
    async with verifier(tmp_path) as here:
        place = f"{here.url}/v1/verifications"
        for query, accepted, lang in (
            ("", "", "vi"),
            ("", "en-GB,en;q=0.9", "en"),
            ("", "en;q=0.3,vi;q=0.9", "vi"),
            ("?lang=vi", "en", "vi"),
            ("?lang=en", "vi", "en"),
        ):
            headers = PDF | {"Accept": "text/html", "Accept-Language": accepted}
            async with http.post(place + query, data=here.files.nonsense, headers=headers) as answer:
                assert f'<html lang="{lang}">' in await answer.text()
        async with http.post(place + "?lang=fr", data=here.files.nonsense, headers=PDF) as answer:
            assert answer.status == 422


async def test_a_form_is_taken_too_and_its_file_name_shown_without_folders(tmp_path, http):
    async with verifier(tmp_path) as here:
        place = f"{here.url}/v1/verifications"
        for sent, shown in (
            ("hợp đồng.pdf", "hợp đồng.pdf"),
            (r"C:\Users\x\scan.pdf", "scan.pdf"),
            ("../../etc/passwd", "passwd"),
            ("a" * 300 + ".pdf", "a" * 110 + "….pdf"),
        ):
            async with http.post(place, data=form(here.files.unsigned, sent)) as answer:
                assert (await answer.json())["file"] == shown


@pytest.mark.parametrize(("path", "page"), [("/v1/verifications", False), ("/verify", True)])
async def test_what_is_not_taken_is_refused_by_name(tmp_path, http, path, page):
    async with verifier(tmp_path, upload_limit=100_000) as here:
        two = form(here.files.unsigned)
        two.add_field("file", b"%PDF", filename="b.pdf")
        for data, headers, status, code in (
            (b"x" * 100_001, PDF, 413, "too-large"),
            (form(b"x" * 100_001), {}, 413, "too-large"),
            (b"x", {"Content-Type": "text/plain"}, 415, "media-type-unsupported"),
            (form(b""), {}, 400, "no-file"),
            (two, {}, 400, "unexpected-part"),
            (b"--x\r\nnonsense", {"Content-Type": "multipart/form-data; boundary=y"}, 400, None),
        ):
            if page and headers == PDF:
                status, code = 415, "media-type-unsupported"
            async with http.post(here.url + path, data=data, headers=headers) as answer:
                assert answer.status == status, code
                if page:
                    text = await answer.text()
                    assert 'role="alert"' in text
                    assert code is None or code in text
                    assert re.search(r"<code>[0-9a-f]{8}-[0-9a-f-]{27}</code>", text), "an id to quote"
                    assert 'type="file"' in text, "and the form, to try again"
                else:
                    told = await problem(answer)
                    assert code is None or told["type"].endswith(code)
                    assert told["instance"].startswith("urn:uuid:")


async def test_an_address_that_asks_too_often_waits(tmp_path, http):
    async with verifier(tmp_path, upload_rate="2 per hour", trusted_proxies=["127.0.0.0/8"]) as here:
        place = f"{here.url}/v1/verifications"

        async def ask(address: str, path: str = place) -> aiohttp.ClientResponse:
            headers = PDF | {"X-Forwarded-For": address}
            answer = await http.post(path, data=here.files.nonsense, headers=headers)
            await answer.read()
            return answer

        assert [(await ask("192.0.2.1")).status for _ in range(2)] == [200, 200]
        refused = await ask("192.0.2.1")
        assert refused.status == 429
        assert 3000 < int(refused.headers["Retry-After"]) <= 3600
        assert (await problem(refused))["type"].endswith("too-many-requests")
        # Another address has its own share; what a caller itself adds to the header is not believed.
        assert (await ask("192.0.2.2")).status == 200
        assert (await ask("203.0.113.9, 192.0.2.1")).status == 429
        assert [(await ask(f"2001:db8::{host}")).status for host in (1, 2, 3)] == [200, 200, 429]
        shown = await ask("192.0.2.1", f"{here.url}/verify?lang=en")
        assert shown.status == 429
        assert "Retry-After" in shown.headers
        assert "You have sent many files" in await shown.text()
        assert '<html lang="en">' in await shown.text()


async def test_an_untrusted_caller_cannot_name_another_address(tmp_path, http):
    async with verifier(tmp_path, upload_rate="1 per hour") as here:
        statuses = []
        for number in range(2):
            headers = PDF | {"X-Forwarded-For": f"192.0.2.{number}"}
            async with http.post(f"{here.url}/v1/verifications", data=b"x", headers=headers) as answer:
                statuses.append(answer.status)
        assert statuses == [200, 429]


async def _slowly(here: Verifier) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A caller who has begun to send and does not go on."""
    host, port = here.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/verifications HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/pdf\r\nContent-Length: 9\r\n\r\n"
    )
    writer.write(head.encode() + b"x")
    await writer.drain()
    return reader, writer


async def test_when_every_place_is_taken_the_next_one_is_told_to_come_back(tmp_path, http):
    async with verifier(tmp_path, waiting=2) as here:
        slow = [await _slowly(here) for _ in range(2)]
        for _ in range(100):
            async with http.post(f"{here.url}/v1/verifications", data=b"x", headers=PDF) as answer:
                status, wait = answer.status, answer.headers.get("Retry-After")
            if status == 503:
                break
            await asyncio.sleep(0.05)
        assert (status, wait) == (503, "5")
        for _, writer in slow:
            writer.close()
            await writer.wait_closed()
        for _ in range(100):
            async with http.post(f"{here.url}/v1/verifications", data=b"x", headers=PDF) as answer:
                status = answer.status
            if status != 503:
                break
            await asyncio.sleep(0.05)
        assert status == 200, "a place is free again when its caller is gone"


async def test_a_body_that_does_not_arrive_is_given_up(tmp_path):
    async with verifier(tmp_path, upload_seconds=0.3) as here:
        reader, writer = await _slowly(here)
        assert (await reader.readline()).split()[1] == b"408"
        writer.close()
        await writer.wait_closed()


def _everything(folder: Path) -> dict[str, int]:
    return {str(each): each.stat().st_size for each in folder.rglob("*") if each.is_file()}


async def test_nothing_that_was_sent_is_left_on_disk(tmp_path, http, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    mark = b"%% a line that is nowhere else " + os.urandom(8).hex().encode()
    async with verifier(tmp_path) as here:
        async with http.get(f"{here.url}/verify") as answer:
            assert answer.status == 200
        before = _everything(tmp_path)
        data = here.files.two + mark
        for path, body, headers in (("/v1/verifications", data, PDF), ("/verify", form(data, "secret-name.pdf"), {})):
            async with http.post(here.url + path, data=body, headers=headers) as answer:
                assert answer.status == 200
        after = _everything(tmp_path)
        assert after.keys() == before.keys()
        for place in after:
            found = await asyncio.to_thread(Path(place).read_bytes)
            assert mark not in found
            assert b"secret-name" not in found


async def test_the_page_remembers_the_language(tmp_path, http):
    async with verifier(tmp_path) as here:
        async with http.get(f"{here.url}/verify", headers={"Accept-Language": "en"}) as answer:
            text = await answer.text()
        assert '<html lang="vi">' in text, "Vietnamese first, whatever the browser speaks"
        assert "Set-Cookie" not in answer.headers
        async with http.get(f"{here.url}/verify?lang=en") as answer:
            assert answer.headers["Set-Cookie"].startswith("lang=en; Path=/")
            assert '<html lang="en">' in await answer.text()
        for cookie, lang in (("lang=en", "en"), ("lang=xx", "vi"), ('lang="; ;"x', "vi")):
            async with http.get(f"{here.url}/verify", headers={"Cookie": cookie}) as answer:
                assert f'<html lang="{lang}">' in await answer.text()


async def test_the_shared_files_are_served_and_nothing_else(tmp_path, http):
    async with verifier(tmp_path) as here:
        for name, media in (
            ("tokens.css", "text/css"),
            ("verify.js", "text/javascript"),
            ("be-vietnam-pro-latin-400.woff2", "font/woff2"),
        ):
            async with http.get(f"{here.url}/static/{name}") as answer:
                assert (answer.status, answer.content_type) == (200, media)
                tag = answer.headers["ETag"]
            async with http.get(f"{here.url}/static/{name}", headers={"If-None-Match": tag}) as answer:
                assert answer.status == 304
        for name in ("OFL.txt", "..%2Fverify%2Fstart.html", "start.html", ""):
            async with http.get(f"{here.url}/static/{name}") as answer:
                assert answer.status == 404


async def test_the_page_may_load_nothing_from_elsewhere(tmp_path, http):
    async with verifier(tmp_path) as here:
        async with http.get(f"{here.url}/verify") as answer:
            policy = answer.headers["Content-Security-Policy"]
        async with http.post(f"{here.url}/verify", data=form(here.files.nonsense)) as answer:
            assert answer.headers["Content-Security-Policy"] == policy
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
