"""`antin trust`: sets are added, listed, fetched and removed; and `antin verify --trust` heeds them."""

from __future__ import annotations

import io
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge, with_store
from signer_world import NOW as SIGNED

from cli.main import app
from services.verifier.cli import PASSED, UNDETERMINED, verify
from services.verifier.trust_cli import DONE, FAILED, USAGE, TrustDesk
from services.verifier.trust_store import Anchor, Kind, Purpose
from tests.support.odd_certificates import KEYED, ODD, WHOLLY
from tests.support.trusted_lists import CA_QC, GRANTED, NOW, QTST, WITHDRAWN, Scheme, Service, certificate


@dataclass
class At:
    """A clock that stands where a test puts it."""

    moment: object = NOW

    def now(self):
        return self.moment


@dataclass
class Desk:
    """A desk on a folder, with what it said."""

    data: Path
    clock: At = field(default_factory=At)
    tty: bool = False

    def __post_init__(self) -> None:
        self.out, self.err = Terminal() if self.tty else io.StringIO(), io.StringIO()
        self.does = TrustDesk(self.data, out=self.out, err=self.err, clock=self.clock)

    def json(self):
        self.out.seek(0)
        self.out.truncate()
        assert self.does.list(as_json=True) == DONE
        return json.loads(self.out.getvalue())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path / "data")


@pytest.fixture
def root(tmp_path) -> Path:
    place = tmp_path / "root.der"
    place.write_bytes(certificate("Root of Somebody")[0])
    return place


def digest(place: Path) -> str:
    return Anchor(place.read_bytes()).sha256


def test_nothing_is_added_before_its_fingerprint_is_confirmed(desk, root):
    assert desk.does.add([root], "neac", kind=Kind.PUBLIC) == USAGE
    assert digest(root) in desk.err.getvalue()
    assert "Root of Somebody" in desk.err.getvalue()
    assert not desk.data.exists()
    assert desk.does.add([root], "neac", kind=Kind.PUBLIC, confirmed=["0" * 64]) == USAGE
    assert not desk.data.exists()


@pytest.mark.parametrize("kind", WHOLLY | KEYED)
def test_a_certificate_that_cannot_be_read_is_said_and_not_added(desk, root, kind):
    root.write_bytes(ODD[kind](root.read_bytes()))
    assert desk.does.add([root], "neac", kind=Kind.PUBLIC, confirmed=["0" * 64]) == USAGE
    assert "root.der, which holds no certificate that can be read" in desk.err.getvalue()
    assert not desk.data.exists()


def test_added_listed_shown_removed(desk, root):
    colons = ":".join(digest(root)[at : at + 2] for at in range(0, 64, 2)).upper()
    added = {"kind": Kind.PUBLIC, "label": "NEAC (thử)", "purpose": Purpose.TIMESTAMPS, "confirmed": [colons]}
    assert desk.does.add([root], "neac", **added) == DONE
    (one,) = desk.json()
    assert (one["set"], one["kind"], one["label"], one["stale"]) == ("neac", "public", "NEAC (thử)", False)
    (found,) = one["certificates"]
    assert found["sha256"] == digest(root)
    assert found["spki_sha256"] == Anchor(root.read_bytes()).spki
    assert found["purposes"] == ["timestamps"]
    assert found["granted"] is None
    assert {"subject", "issuer", "serial", "not_before", "not_after"} < found.keys()
    assert desk.does.show(digest(root)[:8]) == DONE
    for said in (digest(root), found["spki_sha256"], "Root of Somebody", "neac"):
        assert said in desk.out.getvalue()
    assert desk.does.remove("neac", [digest(root)[:10]]) == DONE
    assert desk.json()[0]["certificates"] == []
    assert desk.does.remove("neac", whole=True) == DONE
    assert desk.json() == []


def test_adding_twice_changes_the_purpose_and_nothing_else(desk, root):
    ok = [digest(root)]
    assert desk.does.add([root], "own", confirmed=ok, purpose=Purpose.TIMESTAMPS) == DONE
    assert desk.does.add([root], "own", confirmed=ok) == DONE
    (found,) = desk.json()[0]["certificates"]
    assert found["purposes"] == ["signatures", "timestamps"]


def test_one_certificate_is_taken_out_of_a_bundle(desk, tmp_path):
    ders = [certificate(f"R{number}")[0] for number in range(3)]
    place = desk.data / "trust" / "own"
    place.mkdir(parents=True)
    bundle = b"".join(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in ders)
    (place / "bundle.pem").write_bytes(bundle)
    gone = Anchor(ders[1]).sha256
    assert desk.does.remove("own", [gone]) == DONE
    left = {one["sha256"] for one in desk.json()[0]["certificates"]}
    assert left == {Anchor(ders[0]).sha256, Anchor(ders[2]).sha256}


def test_an_expired_root_is_listed_as_expired(desk, root):
    desk.does.add([root], "own", confirmed=[digest(root)])
    desk.clock.moment = NOW + timedelta(days=5000)
    assert desk.does.list() == DONE
    assert "expired" in desk.out.getvalue()


def test_a_table_at_a_terminal(tmp_path, root):
    desk = Desk(tmp_path / "data", tty=True)
    desk.does.add([root], "own", label="[bold]", confirmed=[digest(root)])
    assert desk.does.list() == DONE
    assert "SHA-256" in desk.out.getvalue()
    assert "[bold]" in desk.out.getvalue()


def test_an_empty_store_says_how_to_begin(desk):
    assert desk.does.list() == DONE
    assert "antin trust add" in desk.out.getvalue()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda does: does.list("none"), "no set none"),
        (lambda does: does.show("00000000"), "no certificate"),
        (lambda does: does.show("xyz"), "at least 8"),
        (lambda does: does.remove("none", whole=True), "no set none"),
        (lambda does: does.add([Path("/nowhere")], "own"), "/nowhere"),
        (lambda does: does.add([], "Own Set"), "small letters"),
        (lambda does: does.add([], "../own"), "small letters"),
    ],
)
def test_wrong_usage_is_said(desk, act, said):
    assert act(desk.does) == USAGE
    assert said in desk.err.getvalue()


def test_remove_wants_certificates_or_all(desk, root):
    desk.does.add([root], "own", confirmed=[digest(root)])
    assert desk.does.remove("own") == USAGE
    assert desk.does.remove("own", [digest(root)], whole=True) == USAGE
    assert len(desk.json()[0]["certificates"]) == 1


# --- from a URL


@asynccontextmanager
async def serving(answer):
    """A small server: `answer()` gives (status, body). Yields (URL, host:port)."""

    async def handle(_: web.Request) -> web.Response:
        status, body = answer()
        return web.Response(status=status, body=body)

    application = web.Application()
    application.router.add_get("/list", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/list", f"{host}:{port}"
    finally:
        await runner.cleanup()


async def test_a_trusted_list_is_fetched_kept_and_refreshed(desk, tmp_path):
    authority = certificate("Authority A")[0]
    scheme = Scheme([Service(authority, CA_QC, "Authority A")])
    (tmp_path / "operator.der").write_bytes(scheme.operator)
    now = [200, scheme.signed()]
    async with serving(lambda: now) as (url, inner):
        asked = {"operators": tmp_path / "operator.der", "allow": [inner]}
        assert await desk.does.subscribe(url, "eu", **asked) == USAGE, "the operator is not confirmed"
        asked["confirmed"] = [Anchor(scheme.operator).sha256]
        assert await desk.does.subscribe(url, "eu", **asked) == DONE, desk.err.getvalue()
        (one,) = desk.json()
        assert (one["kind"], one["url"], one["stale"]) == ("foreign", url, False)
        assert one["certificates"][0]["name"] == "Authority A"
        assert one["certificates"][0]["purposes"] == ["signatures"]

        # A new list that withdraws the service counts at once.
        scheme.sequence = 8
        scheme.services = [Service(authority, CA_QC, "A", ((WITHDRAWN, NOW), (GRANTED, NOW - timedelta(days=9))))]
        now[1] = scheme.signed()
        assert await desk.does.refresh(allow=[inner]) == DONE
        (granted,) = desk.json()[0]["certificates"][0]["granted"]
        assert granted["until"] == "2026-11-24T05:00:00Z"

        # What is not to be believed changes nothing, and is said.
        before = (desk.data / "trust" / "eu" / "fetched.json").read_bytes()
        for status, body in ((200, now[1].replace(b"Authority", b"Aurhotity") + b" "), (200, b"<x/>"), (500, b"")):
            now[:] = [status, body if b"<x/>" in body or not body else body.replace(b"XX", b"YY")]
            assert await desk.does.refresh(allow=[inner]) == FAILED
            assert (desk.data / "trust" / "eu" / "fetched.json").read_bytes() == before
    assert "expected" in desk.err.getvalue()
    desk.clock.moment = NOW + timedelta(days=8)
    assert desk.json()[0]["stale"] is True


async def test_a_bundle_is_taken_only_as_pinned(desk, root):
    async with serving(lambda: (200, root.read_bytes())) as (url, inner):
        assert await desk.does.subscribe(url, "own", allow=[inner]) == USAGE
        assert await desk.does.subscribe(url, "own", confirmed=["0" * 64], allow=[inner]) == FAILED
        assert digest(root) in desk.err.getvalue()
        assert not (desk.data / "trust" / "own").exists()
        assert await desk.does.subscribe(url, "own", confirmed=[digest(root)], allow=[inner]) == DONE
    assert desk.json()[0]["certificates"][0]["sha256"] == digest(root)


async def test_plain_http_and_inner_addresses_are_refused(desk, root):
    asked = {"confirmed": [digest(root)]}
    assert await desk.does.subscribe("http://neac.example/x.pem", "own", **asked) == USAGE
    assert "expected https" in desk.err.getvalue()
    assert await desk.does.subscribe("https://127.0.0.1:1/x.pem", "own", **asked) == FAILED
    assert await desk.does.subscribe("file:///etc/passwd", "own", **asked) == USAGE
    assert await desk.does.subscribe("https://neac.example/x.pem", "own", days=0, **asked) == USAGE
    assert await desk.does.subscribe("https:///", "own", **asked) in (USAGE, FAILED)
    assert await desk.does.subscribe("https://[", "own", **asked) in (USAGE, FAILED)
    assert not desk.data.exists()


# --- and the verdict


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> tuple[Path, Forge]:
    forge, folder = Forge(), tmp_path_factory.mktemp("signed")
    pdf = forge.stamp(with_store(forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok"), forge.evidence()))
    (folder / "good.pdf").write_bytes(pdf)
    (folder / "root.der").write_bytes(forge.world.root.der)
    return folder, forge


async def judged(folder: Path, **trust) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = await verify([folder / "good.pdf"], out=out, err=err, clock=At(SIGNED), **trust)
    return code, out.getvalue(), err.getvalue()


async def test_verify_trusts_the_named_sets(desk, signed):
    folder, forge = signed
    desk.does.add([folder / "root.der"], "neac", label="NEAC", confirmed=[Anchor(forge.world.root.der).sha256])
    code, out, err = await judged(folder, trust=desk.data)
    assert (code, err) == (PASSED, ""), out
    code, _, _ = await judged(folder, trust=desk.data, sets=["neac"])
    assert code == PASSED
    code, _, err = await judged(folder, trust=desk.data, sets=["eu"])
    assert (code, "no set eu" in err) == (2, True)


async def test_a_root_only_for_timestamps_passes_no_signature(desk, signed):
    folder, forge = signed
    ok = [Anchor(forge.world.root.der).sha256]
    desk.does.add([folder / "root.der"], "neac", purpose=Purpose.TIMESTAMPS, confirmed=ok)
    code, out, _ = await judged(folder, trust=desk.data)
    assert code == UNDETERMINED
    assert "is not trusted for signatures" in out


async def test_a_service_granted_then_and_withdrawn_since_still_answers(desk, signed, tmp_path):
    """The status at the signing time decides (TS 119 612 clause 5.5.4, Decree 23/2025 Art 16)."""
    folder, forge = signed
    der = forge.world.root.der
    past, soon = forge.now - timedelta(days=30), forge.now + timedelta(days=1)
    for name, statuses, code in (
        ("before", ((WITHDRAWN, soon), (GRANTED, past)), PASSED),
        ("after", ((WITHDRAWN, forge.now - timedelta(days=2)), (GRANTED, past)), UNDETERMINED),
    ):
        stamps = Service(der, QTST, "Stamps", ((GRANTED, past),))
        scheme = Scheme([Service(der, CA_QC, "A", statuses), stamps], next_update=forge.now + timedelta(days=300))
        (tmp_path / "operator.der").write_bytes(scheme.operator)
        async with serving(lambda scheme=scheme: (200, scheme.signed())) as (url, inner):
            desk.clock.moment = forge.now
            made = await desk.does.subscribe(
                url,
                name,
                operators=tmp_path / "operator.der",
                days=366,
                confirmed=[Anchor(scheme.operator).sha256],
                allow=[inner],
            )
            assert made == DONE, desk.err.getvalue()
        found, out, _ = await judged(folder, trust=desk.data, sets=[name])
        assert found == code, out


async def test_a_set_of_many_hundred_anchors_is_no_burden(desk, signed):
    """National lists hold hundreds; every engine is heard all the same, and agrees."""
    folder, forge = signed
    place = desk.data / "trust" / "eu"
    place.mkdir(parents=True)
    _, key = certificate("Root of many")
    for number in range(300):
        (place / f"{number}.der").write_bytes(certificate(f"Root {number}", key=key)[0])
    (place / "root.der").write_bytes(forge.world.root.der)
    out = io.StringIO()
    code = await verify([folder / "good.pdf"], trust=desk.data, as_json=True, out=out, clock=At(SIGNED))
    told = json.loads(out.getvalue())
    assert (code, told["signatures"][0]["trusted_by"]["set"]) == (PASSED, "eu")
    assert told["engines"]["agreement"] == "agrees"


async def test_a_stale_set_asked_for_by_name_is_wrong_usage(desk, signed, root):
    folder, _ = signed
    desk.clock.moment = NOW - timedelta(days=400)
    async with serving(lambda: (200, root.read_bytes())) as (url, inner):
        assert await desk.does.subscribe(url, "eu", confirmed=[digest(root)], allow=[inner]) == DONE
    code, _, err = await judged(folder, trust=desk.data, sets=["eu"])
    assert (code, "antin trust refresh" in err) == (2, True)
    code, out, _ = await judged(folder, trust=desk.data)
    assert code == UNDETERMINED
    assert "set-stale" not in out


def test_the_commands_are_there_and_say_their_exit_codes(capsys, tmp_path):
    with pytest.raises(SystemExit):
        app(["trust", "--help"])
    assert "Exit:" in capsys.readouterr().out
    assert app(["trust", "list", "--data", str(tmp_path)], exit_on_error=False, result_action="return_value") == DONE
