"""The gate: a file leaves quarantine only when two engines agree on it; otherwise both reports are kept and found."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge
from verifier_house import CONTRACT, KEY, House, house

from events.errors import Unavailable
from events.values import BaselineLevel, Code, Digest
from events.verification import SignatureRejected, SignatureVerified
from services.runtime.clock import SystemClock
from services.signer.model import SigningAlgorithm
from services.verifier import handlers, sandbox
from services.verifier.agreement import settle
from services.verifier.handlers import Ruling
from services.verifier.model import FileReport, Heard, Indication, Integrity, Judgement, Opinion, Scope, Stance, Verdict
from services.verifier.sandbox import Ended, Sandbox

NOON = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)


def with_dangling_store(pdf: bytes) -> bytes:
    """A DSS that names streams which are nowhere; ISO 32000-2 7.3.10 reads them as null, pyHanko raises KeyError."""
    writer = IncrementalPdfFileWriter(BytesIO(pdf))
    store = generic.DictionaryObject(
        {generic.NameObject("/Certs"): generic.ArrayObject([generic.IndirectObject(9999, 0, writer)])}
    )
    writer.root[generic.NameObject("/DSS")] = writer.add_object(store)
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def with_room_in_the_gap(pdf: bytes) -> bytes:
    """The signature value as a literal string, which needs half the room; the rest of the gap is anybody's."""
    _, length, start, _ = (int(word) for word in re.search(rb"/ByteRange ?\[([0-9 ]+)\]", pdf).group(1).split())
    value = bytes.fromhex(pdf[length + 1 : start - 1].decode())
    literal = b"(" + re.sub(rb"([\\()])", rb"\\\1", value).replace(b"\r", b"\\r") + b")"
    return pdf[:length] + (literal + b" /Reason (Rent: 9000)").ljust(start - length) + pdf[start:]


async def report_of(here: House, signed: Digest) -> FileReport:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        place = f"{here.url}/v1/contracts/{CONTRACT}/revisions/{signed}/report"
        async with http.get(place) as answer:
            assert answer.status == 200
            return FileReport.model_validate(await answer.json())


async def test_what_both_engines_pass_is_released_and_the_report_says_so(tmp_path):
    async with house(tmp_path) as here:
        party = await here.desk.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        claim = await here.claim(base, await party.sign(base), party)
        (said,) = await here.rulings(1)
        assert isinstance(said, SignatureVerified), said
        report = await report_of(here, claim.signed)
        assert report.agreement is not None
        assert report.agreement.stance is Stance.AGREES
        own = [one for one in report.opinions if one.engine == "pyhanko"]
        assert [one.verdict for one in own] == [Verdict.PASSED] * (len(report.signatures) + len(report.timestamps))


async def test_a_file_that_the_second_engine_crashes_on_is_quarantined_with_both_reports(tmp_path):
    """verification.md: dangling DSS references raise KeyError; engine one passes the file, the gate does not."""
    async with house(tmp_path) as here:
        party = await here.desk.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        signed = with_dangling_store(await party.sign(base, level=BaselineLevel.T))
        claim = await here.claim(base, signed, party, level=BaselineLevel.T)
        (said,) = await here.rulings(1)
        assert isinstance(said, SignatureRejected), said
        assert said.reason == "engines-disagree"
        kept = FileReport.model_validate_json(await here.platform.blobs.fetch(said.report))
        assert kept == await report_of(here, claim.signed)
        assert [one.verdict for one in kept.signatures] == [Verdict.PASSED]
        (second,) = [one for one in kept.opinions if one.engine == "pyhanko"]
        assert (second.integrity, second.reason) == (None, "exception")
        assert second.detail["fault"] in ("KeyError", "PdfStrictReadError", "PdfReadError")
        assert kept.agreement is not None
        assert kept.agreement.stance is Stance.CANNOT_SAY
        assert [row.why for row in kept.agreement.rows if row.engine == "pyhanko"] == ["dangling-references"]


async def test_a_file_that_the_second_engine_is_deceived_by_is_quarantined_with_both_reports(tmp_path):
    """ISO 32000-2 12.8.1: the gap is the Contents value and nothing else; pyHanko compares sums of lengths."""
    async with house(tmp_path) as here:
        party = await here.desk.party(SigningAlgorithm.P256)
        base = pdfs.minimal()
        signed = with_room_in_the_gap(await party.sign(base, level=BaselineLevel.B))
        claim = await here.claim(base, signed, party, level=BaselineLevel.B)
        (said,) = await here.rulings(1)
        assert isinstance(said, SignatureRejected), said
        assert said.reason == "signature-broken"
        kept = await report_of(here, claim.signed)
        assert kept.integrity is Integrity.BROKEN
        (second,) = [one for one in kept.opinions if one.engine == "pyhanko"]
        assert second.integrity is Integrity.INTACT, second
        assert kept.agreement is not None
        assert kept.agreement.stance is Stance.DIFFERS
        assert "coverage-by-sum" in {row.why for row in kept.agreement.rows}


# --- what a retry may not do -----------------------------------------------------------------------------------------


class Books:
    """A register in memory."""

    def __init__(self, before: Judgement | None) -> None:
        self.before, self.written = before, []

    async def find(self, contract, signed):
        return self.before

    async def write(self, contract, slot, signed, report, verdict, at):
        self.written.append((str(report), verdict))


class Shelf:
    """A vault and an inspector in one."""

    def __init__(self, report: FileReport) -> None:
        self.report, self.kept = report, []

    async def fetch(self, digest):
        return b"%PDF-1.7"

    async def keep(self, data):
        self.kept.append(data)
        return Digest.of(data)

    async def inspect(self, data, *, name, base_size):
        return self.report


async def claim_of(tmp_path: Path):
    async with house(tmp_path) as here:
        party = await here.desk.party(SigningAlgorithm.P256)
        return await here.claim(b"%PDF-1.7", b"%PDF-1.7", party)


async def test_what_was_quarantined_is_never_released_by_judging_it_anew(tmp_path):
    claim = await claim_of(tmp_path)
    earlier, later = Digest.of(b"both reports"), Digest.of(b"another day")
    books = Books(Judgement(slot="buyer", report=str(earlier), verdict="rejected", at=NOON))
    good = Ruling(report=later, signatures=1, level=BaselineLevel.LTA, reason=None, at_verdict="passed")
    (said,) = await handlers.say(claim, good, register=books, clock=SystemClock())
    assert isinstance(said, SignatureRejected)
    assert (said.reason, said.report) == (Code("quarantined-before"), earlier)
    assert books.written == [(str(earlier), "rejected")]
    books.before = Judgement(slot="buyer", report=str(earlier), verdict="verified", at=NOON)
    (said,) = await handlers.say(claim, good, register=books, clock=SystemClock())
    assert isinstance(said, SignatureVerified)


@pytest.mark.parametrize(
    ("reason", "waits"), [("took-too-long", True), ("judge-vanished", True), ("took-too-much-processor", False)]
)
async def test_a_second_engine_without_time_is_waited_for_and_one_that_the_file_exhausts_is_not(
    tmp_path, reason, waits, monkeypatch
):
    """No answer is no disagreement; but what the file itself brings about does not go away by waiting."""
    claim = await claim_of(tmp_path)
    monkeypatch.setattr(handlers, "objection", lambda *_: "engines-disagree")
    one = FileReport(file="x", judged_at=NOON, integrity=Integrity.INTACT)
    shelf = Shelf(settle(one, [Opinion(engine="pyhanko", scope=Scope.FILE, reason=reason)], engines=("pyhanko",)))
    if waits:
        with pytest.raises(Unavailable, match="second"):
            await handlers.judge(claim, vault=shelf, inspector=shelf)
        assert shelf.kept == []
    else:
        assert (await handlers.judge(claim, vault=shelf, inspector=shelf)).reason == "engines-disagree"
        assert len(shelf.kept) == 1


# --- in the sandbox --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


async def test_an_engine_that_dies_does_not_take_the_first_ones_report_with_it(forge, monkeypatch):
    monkeypatch.setattr(sandbox, "OTHERS", ("nobody", "endesive"))
    monkeypatch.setattr(sandbox, "MUST_ANSWER", frozenset({"nobody"}))
    good = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    async with Sandbox() as box:
        made = await box.judge(good, file="x", anchors=forge.anchors, now=forge.now, brought=forge.evidence())
    assert [one.indication for one in made.signatures] == [Indication.PASSED]
    (dead,) = made.opinions
    assert (dead.engine, dead.scope, dead.reason) == ("nobody", Scope.FILE, "judge-died")
    assert made.agreement is not None
    assert made.agreement.stance is Stance.CANNOT_SAY
    assert made.findings[-1].reason == "other-cannot-say"


async def test_only_engine_one_is_asked_when_only_it_is_wanted(forge):
    good = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    async with Sandbox() as box:
        made = await box.judge(
            good, file="x", anchors=forge.anchors, now=forge.now, brought=forge.evidence(), both=False
        )
    assert (made.verdict, made.agreement, made.opinions) == (Verdict.PASSED, None, ())


def part(report: FileReport) -> bytes:
    return report.model_dump_json().encode()


def test_how_the_second_engine_ended_is_its_opinion():
    first = FileReport(file="x", judged_at=NOON, integrity=Integrity.INTACT)
    ended = Ended((part(first),), "took-too-long", {"seconds": "9.0"})
    made = sandbox._report(ended, "x", NOON, ("pyhanko", "endesive"))
    assert made.integrity is Integrity.INTACT
    assert [(one.engine, one.reason) for one in made.opinions] == [("pyhanko", "took-too-long")]
    assert made.agreement is not None
    assert made.agreement.absent == ()


def test_an_engine_that_is_not_installed_is_named():
    first = FileReport(file="x", judged_at=NOON, integrity=Integrity.INTACT)
    heard = [Heard(engine="pyhanko", version="1"), Heard(engine="endesive", version=None)]
    ended = Ended((part(first), *(each.model_dump_json().encode() for each in heard)))
    made = sandbox._report(ended, "x", NOON, ("pyhanko", "endesive"))
    assert made.engines == ("pyhanko 1",)
    assert made.agreement is not None
    assert made.agreement.absent == ("endesive",)
