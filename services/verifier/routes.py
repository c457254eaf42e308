"""The verifier's API for parties: the report of a contract's revision (what anybody may ask is in `uploads`)."""

from __future__ import annotations

from events.errors import Refused
from events.values import ContractId, Digest
from services.runtime.access import Scope
from services.runtime.web import Call, Reply, Route
from services.verifier import report as page
from services.verifier.model import FileReport
from services.verifier.pictures import Pictures, states
from services.verifier.ports import Draughtsman, Press, Reader, Vault

READ = Scope("reports:read")
TAG = "verification"
HTML = "text/html; charset=utf-8"


def routes(reader: Reader, vault: Vault, press: Press, draughtsman: Draughtsman) -> tuple[Route, ...]:
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
        report = await find(call)
        signed = await vault.fetch(Digest(call.path["signed"]))
        return _page(report, await draughtsman.draw(signed, states(report)))

    async def paper(call: Call) -> Reply:
        return Reply(await press.print(await find(call)), media="application/pdf")

    async def etsi(call: Call) -> Reply:
        return Reply(await press.xml(await find(call)), media="application/xml; charset=utf-8")

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
            "GET",
            "/v1/contracts/{id}/revisions/{signed}/report.pdf",
            paper,
            "The same report as a PDF/A, sealed by the verifier",
            TAG,
            READ,
            "application/pdf",
            problems=("no-such-report", "no-seal", "seal-not-in-force"),
        ),
        Route(
            "GET",
            "/v1/contracts/{id}/revisions/{signed}/report.xml",
            etsi,
            "The same report as ETSI TS 119 102-2 XML",
            TAG,
            READ,
            "application/xml",
            problems=("no-such-report",),
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


def _page(report: FileReport, pictures: Pictures) -> Reply:
    headers = {"Content-Security-Policy": page.content_security_policy() + "; frame-ancestors 'none'"}
    return Reply(page.html(report, pictures=pictures).encode(), media=HTML, headers=headers)
