"""The verifier's API: the report of a contract's revision, and a judgement of any PDF sent, which is not kept."""

from __future__ import annotations

from typing import Protocol

from events.errors import Refused, Unavailable
from events.values import ContractId, Digest
from services.runtime.access import Public, Scope
from services.runtime.web import Call, Reply, Route
from services.verifier import report as page
from services.verifier.model import FileReport
from services.verifier.ports import Inspector, Reader, Vault

READ = Scope("reports:read")
TAG = "verification"
HTML = "text/html; charset=utf-8"


class Door(Protocol):
    """A bounded queue for uploads."""

    def full(self) -> bool:
        """Whether the next one must be sent away."""
        ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def routes(inspector: Inspector, reader: Reader, vault: Vault, door: Door, *, upload_limit: int) -> tuple[Route, ...]:
    """Every operation."""

    async def find(call: Call) -> FileReport:
        judged = await reader.find(*_named(call.path["id"], call.path["signed"]))
        if judged is None:
            raise Refused(
                "no-such-report",
                found="no judgement of this revision",
                expected="a revision of this contract that was signed and judged",
                remedy="take the digest from the contract",
                status=404,
            )
        return FileReport.model_validate_json(await vault.fetch(Digest(judged.report)))

    async def read(call: Call) -> Reply:
        return Reply(await find(call))

    async def show(call: Call) -> Reply:
        return _page(await find(call))

    async def upload(call: Call) -> Reply:
        if door.full():
            raise Unavailable(
                "too-many-waiting",
                found="as many uploads waiting as may wait",
                expected="a free place",
                remedy="send it again in a few seconds",
                retry_after=5.0,
            )
        async with door:
            report = await inspector.inspect(call.raw, name="upload.pdf", base_size=None)
        wanted = call.headers.get("Accept", "")
        return _page(report) if "text/html" in wanted else Reply(report)

    nothing_kept = Public("anybody may verify a document; nothing of it is kept")
    return (
        Route(
            "GET",
            "/v1/contracts/{id}/revisions/{signed}/report",
            read,
            "The verification report of a signed revision",
            TAG,
            READ,
            FileReport,
            description="Every check with its clause, the V8 fields of Circular 15/2025/TT-BKHCN Art 6, changes.",
            problems=("no-such-report",),
        ),
        Route(
            "GET",
            "/v1/contracts/{id}/revisions/{signed}/report.html",
            show,
            "The same report for people",
            TAG,
            READ,
            "text/html",
            problems=("no-such-report",),
        ),
        Route(
            "POST",
            "/v1/verifications",
            upload,
            "Judge a PDF",
            TAG,
            nothing_kept,
            FileReport,
            description="Send the PDF as the body. Nothing is kept. With Accept: text/html the report is a page.",
            raw=("application/pdf",),
            limit=upload_limit,
            problems=("too-large", "too-many-waiting"),
        ),
    )


def _named(contract: str, signed: str) -> tuple[ContractId, Digest]:
    try:
        return ContractId(contract), Digest(signed)
    except ValueError as fault:
        raise Refused(
            "no-such-report",
            found="a path that names no contract or no digest",
            expected=f"{ContractId.expected}; {Digest.expected}",
            remedy="take both from the contract",
            status=404,
        ) from fault


def _page(report: FileReport) -> Reply:
    headers = {"Content-Security-Policy": page.content_security_policy() + "; frame-ancestors 'none'"}
    return Reply(page.html(report).encode(), media=HTML, headers=headers)
