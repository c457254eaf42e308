"""Reports that leave the house: the sealed PDF/A in both languages, and ETSI TS 119 102-2 XML."""

from __future__ import annotations

import asyncio
import sys
import uuid
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pypdfium2
import pytest
from aiohttp import web
from asn1crypto import cms, tsp
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.generated.etsi import ts_11910202
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge, with_store
from judges import poppler_calls_valid

from cli.installation import Installation
from cli.main import app
from cli.seal import seal_from_lab
from events.errors import Malformed, Refused, Unavailable
from events.signing import DocumentSigned
from events.values import BaselineLevel, ContractId, CredentialId, Digest, IdentityId, Slot
from lab.world import World
from services.runtime.clock import SystemClock
from services.runtime.outbound import Outbound
from services.verifier.adapters.etsi_report import URN, etsi_xml
from services.verifier.adapters.papers import Papers
from services.verifier.adapters.seal import FIELD, Seal, seal_from
from services.verifier.catalogue import LABELS
from services.verifier.handlers import judge as gate
from services.verifier.inspection import judge_one
from services.verifier.model import FileReport, Integrity, LaterChange, Verdict
from services.verifier.printed import MOST_ROWS, MOST_WHOLE, WORDS, printed
from services.verifier.sandbox import Sandbox
from services.verifier.trust_answer import answered
from services.verifier.trust_store import Anchor, AnchorSet, Kind, Trusted
from tests.support import pki
from tests.support.odd_certificates import KEYED, ODD, WHOLLY, as_pem


class At:
    def __init__(self, moment) -> None:
        self.moment = moment

    def now(self):
        return self.moment


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="module")
def trust(forge) -> Trusted:
    return Trusted((AnchorSet("lab", Kind.LAB, "Danh sách thử", (Anchor(forge.world.root.der),)),))


@pytest.fixture(scope="module")
def reports(forge, trust) -> dict[str, FileReport]:
    """A file that passes, one without status data, one changed, one unsigned and one that is no PDF."""
    signed = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    files = {
        "good": forge.stamp(with_store(signed, forge.evidence())),
        "no-status": signed,
        "changed": signed + b"\nx",
        "unsigned": pdfs.minimal(),
        "junk": b"hello",
    }

    async def judge() -> dict[str, FileReport]:
        async with Sandbox() as sandbox:
            return {
                name: await judge_one(sandbox, data, f"{name}.pdf", trust, clock=At(forge.now))
                for name, data in files.items()
            }

    return asyncio.run(judge())


@pytest.fixture
def seal_files(forge, tmp_path) -> tuple[Path, Path]:
    owner = forge.signer("Dấu của đơn vị kiểm tra")
    key, chain = tmp_path / "seal.key", tmp_path / "seal.pem"
    key.touch(mode=0o600)
    key.write_bytes(owner.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    chain.write_bytes(
        owner.certificate.public_bytes(Encoding.PEM) + forge.world.issuing.certificate.public_bytes(Encoding.PEM)
    )
    return key, chain


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    try:
        pages = [page.get_textpage().get_text_range() for page in document]
    finally:
        document.close()
    return " ".join(" ".join(pages).split())


@asynccontextmanager
async def serving(handle):
    """A server on loopback that answers every POST: (URL, host:port)."""
    application = web.Application()
    application.router.add_post("/tsa", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/tsa", f"{host}:{port}"
    finally:
        await runner.cleanup()


# --- on paper


def test_the_paper_says_everything_in_both_languages(reports):
    """Circular 15/2025 Art 6 (V8 a to g) and every check of Appendix II."""
    said = text_of(printed(reports["good"], sealed=True))
    for mark in "abcdefg":
        assert f"({mark})" in said
    for number in ("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "2.1", "2.2", "2.3", "2.4"):
        assert f" {number} " in said
    for words in (LABELS["title"], LABELS["issuer"], LABELS["manager"], LABELS["validity-period"], WORDS["seal"]):
        assert words.vi in said
        assert words.en in said
    for part in ("Nguyễn Thị Phương Thảo", "Đạt", "Passed", "Danh sách thử", reports["good"].sha256, "LTA"):
        assert part in said
    assert WORDS["warning"].en not in said


def test_unknown_revocation_is_a_visible_warning(reports):
    """Circular 15/2025 App. II 1.2: where the status cannot be checked, a warning is shown."""
    said = text_of(printed(reports["no-status"], sealed=True))
    assert WORDS["warning"].vi in said
    assert WORDS["warning"].en in said
    assert "Chưa đủ căn cứ" in said


@pytest.mark.parametrize("name", ["changed", "unsigned", "junk"])
def test_every_verdict_can_be_printed(reports, name):
    said = text_of(printed(reports[name], sealed=False))
    assert {"changed": "Không đạt", "unsigned": "chưa có chữ ký số", "junk": "cannot be verified"}[name] in said
    assert WORDS["unsealed"].vi in said


def test_the_same_report_gives_the_same_octets(reports):
    assert printed(reports["good"], sealed=True) == printed(reports["good"], sealed=True)


@pytest.mark.parametrize(
    "name", ["合同.pdf", "#eval(1) $x$ *b* @a <b>.pdf", "a" * 3000, "\x00\x07\ud7ff.pdf", "‮fdp.exe", "🖋.pdf"]
)
def test_whatever_a_file_is_called_it_is_printed_and_never_interpreted(reports, name):
    report = reports["junk"].model_copy(update={"file": name})
    said = text_of(printed(report, sealed=False))
    if "合" in name:
        assert "[U+5408]" in said
    if "#eval" in name:
        assert "#eval(1) $x$ *b* @a <b>.pdf" in said


def test_a_thousand_changes_are_counted_not_printed(reports):
    changes = tuple(LaterChange(revision=at, what="objects", allowed=False) for at in range(1000))
    one = reports["changed"].signatures[0].model_copy(update={"changes": changes})
    said = text_of(printed(reports["changed"].model_copy(update={"signatures": (one,)}), sealed=False))
    assert WORDS["more"].en.format(count=1000 - MOST_ROWS) in said


def test_of_very_many_signatures_the_first_are_printed_whole(reports):
    report = reports["good"].model_copy(update={"signatures": reports["good"].signatures * (MOST_WHOLE + 1)})
    said = text_of(printed(report, sealed=False))
    assert said.count(WORDS["short"].en) == 1
    assert f"{LABELS['signature'].en} {MOST_WHOLE + 1}" in said


# --- sealed


async def test_the_seal_is_judged_by_our_own_engine_and_by_poppler(reports, forge, trust, seal_files, tmp_path):
    pdf = await Papers(Seal.from_files(*seal_files, At(forge.now))).print(reports["good"])
    async with Sandbox() as sandbox:
        report = await sandbox.judge(pdf, file="x", anchors=trust.anchors, now=forge.now, brought=forge.evidence())
        (one,) = report.signatures
        assert (report.verdict, one.field, one.kind) == (Verdict.PASSED, FIELD, "certification")
        assert one.level == "PAdES-BASELINE-B"
        assert one.certificate.subject.name == "Dấu của đơn vị kiểm tra"
        grown = await sandbox.judge(pdf + b"\nx", file="x", anchors=trust.anchors, now=forge.now)
        assert grown.integrity is not Integrity.INTACT
    (tmp_path / "report.pdf").write_bytes(pdf)
    assert await asyncio.to_thread(poppler_calls_valid, tmp_path / "report.pdf") == 1


async def test_the_seal_carries_a_timestamp(reports, forge, trust, seal_files):
    async def stamp(request: web.Request) -> web.Response:
        forge.world.tsa_mode, forge.world.tsa_offset = "ok", forge.now - SystemClock().now().replace(microsecond=0)
        return web.Response(body=forge.world.token(tsp.TimeStampReq.load(await request.read())))

    async with serving(stamp) as (url, inner), Outbound(allowed=[inner]) as outbound:
        seal = Seal.from_files(*seal_files, At(forge.now), outbound, url)
        pdf = await Papers(seal).print(reports["good"])
    async with Sandbox() as sandbox:
        report = await sandbox.judge(
            pdf, file="x", anchors=trust.anchors, now=forge.now + timedelta(minutes=5), brought=forge.evidence()
        )
    assert (report.verdict, report.signatures[0].level) == (Verdict.PASSED, "PAdES-BASELINE-T")


@pytest.mark.parametrize("answer", [web.Response(status=500), web.Response(body=b"nonsense")])
async def test_without_a_usable_time_nothing_is_sealed(reports, forge, seal_files, answer):
    """A time that is asked for is never replaced by a clock's."""

    async def badly(_: web.Request) -> web.Response:
        return web.Response(status=answer.status, body=answer.body)

    async with serving(badly) as (url, inner), Outbound(allowed=[inner]) as outbound:
        with pytest.raises(Unavailable, match="timestamp"):
            await Papers(Seal.from_files(*seal_files, At(forge.now), outbound, url)).print(reports["junk"])


@pytest.mark.parametrize("mode", ["wrong-nonce", "no-nonce", "refused", *WHOLLY])
async def test_a_token_that_cannot_be_read_or_is_another_s_seals_nothing(reports, forge, seal_files, mode):
    """RFC 3161 clause 2.4.2 (the nonce comes back); RFC 5280 clauses 4.1.2.1, 4.1.2.4, 4.1.2.5."""

    async def stamp(request: web.Request) -> web.Response:
        forge.world.tsa_mode = mode if mode not in WHOLLY else "ok"
        body = forge.world.token(tsp.TimeStampReq.load(await request.read()))
        if mode in WHOLLY:
            answer = tsp.TimeStampResp.load(body)
            odd = cms.CertificateChoices.load(WHOLLY[mode](forge.world.tsa.der))
            answer["time_stamp_token"]["content"]["certificates"] = [odd]
            body = answer.dump()
        return web.Response(body=body)

    async with serving(stamp) as (url, inner), Outbound(allowed=[inner]) as outbound:
        with pytest.raises(Unavailable, match="no-timestamp"):
            await Papers(Seal.from_files(*seal_files, At(forge.now), outbound, url)).print(reports["junk"])


async def test_without_a_seal_a_sealed_report_is_refused(reports):
    with pytest.raises(Refused) as caught:
        await Papers(None).print(reports["good"])
    assert caught.value.code == "no-seal"
    assert "ANTIN_VERIFIER__SEAL_KEY_FILE" in caught.value.remedy
    assert (await Papers(None).print(reports["good"], sealed=False)).startswith(b"%PDF")


async def test_an_expired_seal_seals_nothing(reports, forge, seal_files):
    """Circular 15/2025 Art 5 (S1): the certificate is checked before it is used."""
    late = Seal.from_files(*seal_files, At(forge.now + timedelta(days=3000)))
    with pytest.raises(Refused) as caught:
        await Papers(late).print(reports["good"])
    assert caught.value.code == "seal-not-in-force"


def test_a_seal_that_cannot_be_used_is_refused_at_the_start(forge, seal_files, tmp_path):
    key, chain = seal_files
    other = tmp_path / "other.pem"
    other.write_bytes(forge.signer("Another").certificate.public_bytes(Encoding.PEM))
    junk = tmp_path / "junk.pem"
    junk.touch(mode=0o600)
    junk.write_text("junk")
    odd = tmp_path / "odd.pem"
    for change in (WHOLLY | KEYED).values():
        odd.write_text(as_pem(change(pki.issue("Somebody").der)))
        with pytest.raises(Malformed, match=r"odd\.pem"):
            seal_from(key, odd, At(forge.now), None, None)
    for pair in ((key, other), (junk, chain), (key, junk), (key, tmp_path / "none"), (key, None), (None, chain)):
        with pytest.raises(Malformed):
            seal_from(*pair, At(forge.now), None, None)
    outbound = Outbound()
    with pytest.raises(Malformed, match="http or https"):
        seal_from(key, chain, At(forge.now), outbound, "tsa.example")
    key.chmod(0o644)
    with pytest.raises(Malformed, match="others can read"):
        seal_from(key, chain, At(forge.now), None, None)
    assert seal_from(None, None, At(forge.now), None, None) is None


# --- for machines


def parsed(report: FileReport):
    """The document by bindings made from the schema of TS 119 102-2, which know no element but the schema's."""
    strict = XmlParser(config=ParserConfig(fail_on_unknown_properties=True, fail_on_converter_warnings=True))
    return strict.from_bytes(etsi_xml(report), ts_11910202.ValidationReport)


@pytest.mark.parametrize(
    ("name", "main", "sub"),
    [
        ("good", "total-passed", None),
        ("no-status", "indeterminate", "TRY_LATER"),
        ("changed", "total-failed", "FORMAT_FAILURE"),
        ("unsigned", "indeterminate", "SIGNED_DATA_NOT_FOUND"),
        ("junk", "indeterminate", "FORMAT_FAILURE"),
    ],
)
def test_the_xml_says_our_own_verdict(reports, name, main, sub):
    (one,) = parsed(reports[name]).signature_validation_report
    status = one.signature_validation_status
    assert status.main_indication == f"{URN}:mainindication:{main}"
    if reports[name].signatures and reports[name].signatures[0].sub_indication:
        sub = reports[name].signatures[0].sub_indication.value
    assert list(status.sub_indication) == ([f"{URN}:subindication:{sub}"] if sub else [])


def test_the_xml_says_times_signer_checks_and_objects(reports):
    report = parsed(reports["good"])
    (one,) = report.signature_validation_report
    mine = reports["good"].signatures[0]
    assert one.signature_identifier.daidentifier == "buyer"
    assert one.validation_time_info.best_signature_time.poetime.to_datetime() == mine.proven_time
    assert one.signers_document.digest_alg_and_value.digest_value.value.hex() == reports["good"].sha256
    assert one.signer_information.signer == "Nguyễn Thị Phương Thảo"
    constraints = one.validation_constraints_evaluation_report.validation_constraint
    assert [row.validation_constraint_identifier for row in constraints] == [
        f"urn:antin:check:{finding.code}" for finding in mine.findings
    ]
    objects = {made.id: made for made in report.signature_validation_objects.validation_object}
    kinds = [made.object_type.rsplit(":", 1)[1] for made in objects.values()]
    assert kinds.count("timestamp") == 2
    assert kinds.count("certificate") >= 2
    assert "CRL" in kinds
    data = one.signature_validation_status.associated_validation_report_data[0]
    assert list(data.trust_anchor.voreference) == [f"certificate-{mine.anchor}"]
    assert set(data.related_validation_object[0].voreference) <= objects.keys()


def test_characters_that_xml_does_not_know_do_no_harm(reports):
    one = reports["good"].signatures[0].model_copy(update={"field": "a\x00b\ud800<&>", "reason": "\x07"})
    found = parsed(reports["good"].model_copy(update={"signatures": (one,)}))
    assert found.signature_validation_report[0].signature_identifier.daidentifier == "a�b�<&>"


# --- the command


@pytest.fixture(scope="module")
def folder(forge, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("papers")
    signed = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / "contract.pdf").write_bytes(signed)
    (place / "root.der").write_bytes(forge.world.root.der)
    return place


def run(*words: str | Path) -> int:
    return app([str(word) for word in words], exit_on_error=False, result_action="return_value")


def test_the_command_writes_papers_for_each_file(folder, seal_files, tmp_path, capsys):
    key, chain = seal_files
    out = tmp_path / "out"
    code = run(
        "verify", folder / "a", folder / "b", "--anchors", folder / "root.der", "--pdf", out, "--etsi-xml", out,
        "--seal-key", key, "--seal-chain", chain,
    )  # fmt: skip
    assert code == 3, capsys.readouterr().err
    assert sorted(each.name for each in out.iterdir()) == [
        "contract-2.report.pdf", "contract-2.report.xml", "contract.report.pdf", "contract.report.xml",
    ]  # fmt: skip
    assert b"/ByteRange" in (out / "contract.report.pdf").read_bytes()


def test_the_command_prints_nothing_unsealed_unless_told(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("verify", folder / "a", "--pdf", out) == 2
    assert "--unsealed" in capsys.readouterr().err
    assert not out.exists()
    assert run("verify", folder / "a", "--pdf", out, "--unsealed") == 3
    assert b"/ByteRange" not in (out / "contract.report.pdf").read_bytes()


def test_a_folder_that_cannot_be_written_is_said(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("verify", folder / "a", "--etsi-xml", tmp_path / "file") == 2
    assert "cannot be written to" in capsys.readouterr().err


# --- the seal of the toy world


async def test_the_lab_certifies_one_seal_for_an_installation(tmp_path):
    data = tmp_path / "data"
    async with World(tmp_path / "lab") as world:
        await seal_from_lab(world, data)
        installation = Installation.at(data)
        made = installation.seal_chain.read_bytes()
        assert installation.seal_key.stat().st_mode & 0o077 == 0
        assert seal_from(installation.seal_key, installation.seal_chain, SystemClock(), None, None) is not None
        await seal_from_lab(world, data)
        assert installation.seal_chain.read_bytes() == made, "found again, not made again"
        for odd in ("", *(as_pem(change(pki.issue("Somebody").der)) for change in ODD.values())):
            installation.seal_chain.write_text(odd)
            await seal_from_lab(world, data)
            assert installation.seal_chain.read_text() != odd, "made again"
        installation.seal_chain.unlink()
        await seal_from_lab(world, data)
        assert seal_from(installation.seal_key, installation.seal_chain, SystemClock(), None, None) is not None
    async with World(tmp_path / "another") as world:
        await seal_from_lab(world, data)
        assert installation.seal_chain.read_bytes() != made, "the seal of another lab is none"
    assert installation.seal(("https://tsa.example", "https://two.example"))["seal_tsa"] == "https://tsa.example"
    assert Installation.at(tmp_path / "without").seal("https://tsa.example") == {}


# --- and the gate


async def test_a_stale_set_delays_a_verdict_and_spoils_none(reports, forge):
    """The set that was left out may be the one that answers: nothing is voided for want of antin trust refresh."""
    stale = answered(reports["good"].model_copy(update={"signatures": reports["no-status"].signatures}),
                     Trusted((), ("eu",)))  # fmt: skip
    assert stale.verdict is Verdict.UNDETERMINED

    class Here:
        async def fetch(self, digest):
            return pdfs.minimal()

        async def keep(self, data):
            raise AssertionError("no report of it is kept")

        async def inspect(self, data, *, name, base_size):
            return stale.model_copy(
                update={"since_base": (), "signatures": tuple(
                    one.model_copy(update={"signed_octets": base_size + 1}) for one in stale.signatures
                )}
            )  # fmt: skip

    (one,) = stale.signatures
    digest = Digest.of(b"x")
    claim = DocumentSigned(
        contract=ContractId(str(uuid.UUID(int=1))),
        slot=Slot("buyer"),
        identity=IdentityId("a" * 52),
        credential=CredentialId(str(uuid.UUID(int=2))),
        base=digest,
        shown=digest,
        signed=digest,
        checked=digest,
        signed_at=forge.now,
        certificate=Digest(f"sha256:{one.certificate.sha256}"),
        field=one.field,
        level=BaselineLevel.T,
    )
    with pytest.raises(Unavailable, match="antin trust refresh"):
        await gate(claim, vault=Here(), inspector=Here())
