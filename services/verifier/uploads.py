"""What anybody may ask: is this PDF to be relied on? Answered to programs by the API and to people by a page.

Nothing that is sent is kept: it is judged and drawn in memory, and the images of its pages are part of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Literal

from jinja2 import Environment
from pydantic import BaseModel, ConfigDict, Field

from events.errors import Refused
from services.runtime import face, negotiation
from services.runtime.access import Public
from services.runtime.negotiation import Language
from services.runtime.web import JSON, Call, Door, Fault, Reply, Route
from services.verifier import page_words, report
from services.verifier.catalogue import LABELS
from services.verifier.model import FileReport
from services.verifier.pictures import Pictures, states
from services.verifier.ports import Draughtsman, Inspector, Press

TAG = "verification"
PDF = "application/pdf"
HTML = "text/html"
XML = "application/xml"
_HTML = f"{HTML}; charset=utf-8"
_PART = "file"
_NOBODY_KNOWS = Public("anybody may verify a document; nothing of it is kept")


class Asked(BaseModel):
    """How the answer is wanted."""

    model_config = ConfigDict(extra="forbid")

    lang: Annotated[Language | None, Field(description="language of a page; else what the headers want")] = None


class AskedByPage(Asked):
    """What the page's form says besides the file."""

    form: Annotated[Literal["page", "pdf"], Field(alias="as")] = "page"


@dataclass(frozen=True)
class Upload:
    """A file that was sent, and how its answer is wanted."""

    data: bytes
    name: str
    language: Language


Form = Callable[[Upload, FileReport], Awaitable[Reply]]


@dataclass(frozen=True)
class Desk:
    """The handlers behind the routes.

    `limit`: octets of a file. `patience`: seconds in which it must arrive. `seconds`: a judgement's time at most.
    """

    inspector: Inspector
    draughtsman: Draughtsman
    press: Press
    door: Door
    limit: int
    patience: float
    seconds: float

    @property
    def forms(self) -> Mapping[str, Form]:
        """The forms in which an upload is answered, by media type; the first is for who wants anything."""
        return {JSON: self.as_json, HTML: self.as_page, PDF: self.as_paper, XML: self.as_etsi}

    async def api(self, call: Call) -> Reply:
        """Judge, and answer in the form that is wanted most."""
        form = negotiation.media(call.headers.get("Accept", ""), tuple(self.forms))
        language = negotiation.language(call.query.lang, call.headers.get("Accept-Language", ""))
        upload = _upload(call, language)
        judged = await self.inspector.inspect(upload.data, name=upload.name, base_size=None)
        reply = await self.forms[form](upload, judged)
        return Reply(reply.body, reply.status, reply.media, {"Vary": "Accept, Accept-Language", **reply.headers})

    async def as_json(self, upload: Upload, judged: FileReport) -> Reply:
        """The whole report, for programs."""
        return Reply(judged)

    async def as_page(self, upload: Upload, judged: FileReport) -> Reply:
        """The report for people, with the pages drawn."""
        pictures = None
        if judged.size and judged.pages != 0:
            pictures = await self.draughtsman.draw(upload.data, states(judged))
        return _shown(judged, pictures, upload.language)

    async def as_paper(self, upload: Upload, judged: FileReport) -> Reply:
        """The report as a PDF/A, sealed by the verifier."""
        return Reply(await self.press.print(judged), media=PDF)

    async def as_etsi(self, upload: Upload, judged: FileReport) -> Reply:
        """The report as ETSI TS 119 102-2 XML."""
        return Reply(await self.press.xml(judged), media=f"{XML}; charset=utf-8")

    async def start(self, call: Call) -> Reply:
        """The page that takes a file."""
        language = _language(call.query.lang, call.headers)
        headers = {"Vary": "Cookie"}
        if call.query.lang is not None:
            headers["Set-Cookie"] = f"lang={language}; Path=/; Max-Age=31536000; SameSite=Lax"
        return Reply(self._start(language, call.headers, None), media=_HTML, headers=headers)

    async def judge(self, call: Call) -> Reply:
        """Judge what the page's form sends."""
        upload = _upload(call, _language(call.query.lang, call.headers))
        judged = await self.inspector.inspect(upload.data, name=upload.name, base_size=None)
        if call.query.form == "pdf":
            paper = await self.as_paper(upload, judged)
            return replace(paper, headers={"Content-Disposition": 'attachment; filename="report.pdf"'})
        return await self.as_page(upload, judged)

    def refused(self, fault: Fault) -> Reply:
        """The page that takes a file, saying why the last one was not taken."""
        language = _language(fault.query.get("lang"), fault.headers)
        told = {
            "text": page_words.fault(fault.code),
            "wait": fault.retry_after,
            "instance": str(fault.problem["instance"]).removeprefix("urn:uuid:"),
            "status": fault.problem["status"],
            "code": fault.code,
        }
        return Reply(self._start(language, fault.headers, told), media=_HTML)

    def _start(self, language: Language, headers: Mapping[str, str], fault: Mapping[str, object] | None) -> bytes:
        template = _environment().get_template("verify/start.html")
        return template.render(
            language=language,
            fault=fault,
            page=page_words.PAGE,
            labels=LABELS,
            limit=self.limit,
            size=_size(self.limit),
            sealed=self.press.seals,
            seconds=round(self.seconds),
            origin=_origin(headers.get("Host", "")),
        ).encode()

    def routes(self) -> tuple[Route, ...]:
        """Every operation."""
        return (
            Route(
                "POST",
                "/v1/verifications",
                self.api,
                "Judge a PDF",
                TAG,
                _NOBODY_KNOWS,
                FileReport,
                description=(
                    "Send the PDF as the body, or as the part `file` of a form. Nothing is kept. The Accept header "
                    f"chooses the form of the answer: {', '.join(self.forms)}."
                ),
                query=Asked,
                raw=(PDF,),
                parts=(_PART,),
                limit=self.limit,
                problems=(
                    "too-large",
                    "too-many-requests",
                    "too-many-waiting",
                    "too-slow",
                    "media-type-unsupported",
                    "not-acceptable",
                    "no-seal",
                    "no-file",
                ),
                door=self.door,
                patience=self.patience,
            ),
            Route("GET", "/verify", self.start, "The page", TAG, _NOBODY_KNOWS, HTML, query=Asked, internal=True),
            Route(
                "POST",
                "/verify",
                self.judge,
                "The page's form",
                TAG,
                _NOBODY_KNOWS,
                HTML,
                query=AskedByPage,
                parts=(_PART,),
                limit=self.limit,
                door=self.door,
                patience=self.patience,
                show=self.refused,
                internal=True,
            ),
        )


def _upload(call: Call, language: Language) -> Upload:
    data = call.parts.get(_PART, call.raw)
    if not data:
        raise Refused(
            "no-file",
            found="no octet of a file",
            expected="a PDF file",
            remedy="choose the signed PDF and send it",
            status=400,
        )
    return Upload(data, _name(call.names.get(_PART, "")), language)


def _name(sent: str) -> str:
    """A file's name as the sender sees it: no folder, nothing unprintable, not endless."""
    name = "".join(part for part in re.split(r"[/\\]", sent)[-1] if part.isprintable()).strip()
    return name if 0 < len(name) <= 120 else f"{name[:110]}….pdf" if name else "upload.pdf"


def _size(octets: int) -> str:
    return f"{octets >> 20} MB" if octets >= 1 << 20 else f"{octets >> 10} kB"


def _shown(judged: FileReport, pictures: Pictures | None, language: Language) -> Reply:
    page = report.html(judged, pictures=pictures, language=language, served=True)
    return Reply(page.encode(), media=_HTML, headers={"Content-Language": "vi, en"})


def _language(asked: str | None, headers: Mapping[str, str]) -> Language:
    """Of a page: what was asked for or chosen before; Vietnamese first, whatever the browser's own language."""
    try:
        cookie = SimpleCookie(headers.get("Cookie", "")[:4096]).get("lang")
    except CookieError:
        cookie = None
    return negotiation.language(asked, "", cookie.value if cookie else None)


def _origin(host: str) -> str:
    """The address of this service, as the caller names it."""
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,100}(:[0-9]{1,5})?", host):
        return ""
    return f"{'http' if host.startswith(('127.0.0.1', 'localhost')) else 'https'}://{host}"


@cache
def _environment() -> Environment:
    return face.environment()
