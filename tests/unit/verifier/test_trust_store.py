"""Named anchor sets: what is read, what is refused by name, which set answers (Circular 15/2025 Art 5 S5, S12; V2)."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from events.errors import Refused, Unavailable
from services.runtime.clock import SystemClock
from services.verifier.adapters.trust_folder import TrustFolders
from services.verifier.model import (
    FileReport,
    Indication,
    Integrity,
    SignatureReport,
    Sub,
    TimestampReport,
    Verdict,
)
from services.verifier.trust_answer import answered
from services.verifier.trust_store import (
    Anchor,
    AnchorSet,
    Fetched,
    FetchedAnchor,
    Kind,
    Purpose,
    SetSettings,
    Source,
    Span,
    Trusted,
    certificates_in,
    plain_set,
    read_certificates,
    read_sets,
    trusted,
    write_fetched,
    write_settings,
)
from tests.support.odd_certificates import EXTENDED, KEYED, ODD, WHOLLY, as_pem
from tests.support.trusted_lists import NOW, certificate

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def ders() -> list[bytes]:
    return [certificate(f"Root {number}")[0] for number in range(3)]


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def test_pem_bundles_der_and_duplicates(tmp_path, ders):
    (tmp_path / "bundle.pem").write_bytes(b"# a comment\n" + pem(ders[0]) + pem(ders[1]))
    (tmp_path / "third.der").write_bytes(ders[2])
    (tmp_path / "again.cer").write_bytes(ders[0])
    (tmp_path / "README.txt").write_text("not a certificate, and not called one")
    assert set(read_certificates(tmp_path)) == set(ders)
    assert len(plain_set(tmp_path).anchors) == 3


@pytest.mark.parametrize("junk", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_certificate_is_named(tmp_path, ders, junk):
    (tmp_path / "good.der").write_bytes(ders[0])
    (tmp_path / "odd.pem").write_bytes(junk)
    with pytest.raises(Refused, match=r"odd\.pem"):
        read_certificates(tmp_path)


@given(st.binary(max_size=200))
def test_any_octets_that_are_no_certificate_are_refused(raw):
    with pytest.raises(Refused, match="holds no certificate"):
        certificates_in(raw, "x")


@pytest.mark.parametrize("kind", WHOLLY | KEYED)
def test_a_certificate_that_cannot_be_read_is_no_anchor(tmp_path, ders, kind):
    """RFC 5280 clauses 4.1.2.1, 4.1.2.4, 4.1.2.5, 4.1.2.7."""
    odd = ODD[kind](ders[0])
    for octets in (odd, pem(ders[1]) + as_pem(odd).encode()):
        (tmp_path / "odd.pem").write_bytes(octets)
        with pytest.raises(Refused, match=r"odd\.pem"):
            read_certificates(tmp_path)


@pytest.mark.parametrize("kind", EXTENDED)
def test_a_root_whose_extensions_only_others_can_read_is_an_anchor(ders, kind):
    """The key and the name count (RFC 5280 clause 6.1.1 d); a few roots in use have such extensions."""
    odd = EXTENDED[kind](ders[0])
    assert certificates_in(odd, "x") == [odd]
    assert Anchor(odd).name == "Root 0"
    assert Anchor(odd).spki == Anchor(ders[0]).spki


@pytest.mark.parametrize("octets", ["no base64", "AAAA", ""])
def test_what_was_fetched_and_cannot_be_read_any_more_is_named(tmp_path, octets):
    folder = tmp_path / "eu"
    folder.mkdir()
    write_settings(folder, SetSettings(source=Source(url="https://list.example/", sha256="00")))
    fetched = {"at": NOW.isoformat(), "sha256": "00", "anchors": [{"der": octets}]}
    (folder / "fetched.json").write_text(json.dumps(fetched))
    with pytest.raises(Refused, match=r"fetched\.json"):
        read_sets(tmp_path)


def test_operators_that_are_not_base64_are_named(tmp_path):
    folder = tmp_path / "eu"
    folder.mkdir()
    (folder / "set.json").write_text(json.dumps({"source": {"url": "https://list.example/", "operators": ["?"]}}))
    with pytest.raises(Refused, match=r"set\.json"):
        read_sets(tmp_path)


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(Refused):
            plain_set(place)
    with pytest.raises(Refused, match="no folder"):
        read_sets(tmp_path / "none")


def test_a_trust_folder_holds_sets_by_name(tmp_path, ders):
    for name, der in zip(("neac", "cipher"), ders, strict=False):
        (tmp_path / "trust" / name).mkdir(parents=True)
        (tmp_path / "trust" / name / "root.der").write_bytes(der)
    write_settings(tmp_path / "trust" / "neac", SetSettings(kind=Kind.PUBLIC, label="NEAC"))
    found = {one.name: one for one in read_sets(tmp_path)}
    assert (found["neac"].kind, found["neac"].label) == (Kind.PUBLIC, "NEAC")
    assert (found["cipher"].kind, found["cipher"].label) == (Kind.OWN, "cipher")
    assert [one.name for one in read_sets(tmp_path / "trust", ["neac"])] == ["neac"]
    with pytest.raises(Refused, match="no set eu"):
        read_sets(tmp_path, ["neac", "eu"])


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "royal"}', '{"colour": "red"}', '{"source": {"url": 1}}'])
def test_settings_that_do_not_fit_are_named(tmp_path, ders, text):
    (tmp_path / "neac").mkdir()
    (tmp_path / "neac" / "set.json").write_text(text)
    with pytest.raises(Refused, match=r"set\.json"):
        read_sets(tmp_path)


def test_a_stale_set_is_named_and_not_used(tmp_path, ders):
    place = tmp_path / "eu"
    write_settings(place, SetSettings(kind=Kind.FOREIGN, source=Source(url="https://x.example/", sha256="0", days=7)))
    (one,) = read_sets(tmp_path)
    assert one.stale(NOW), "never fetched"
    der = base64.b64encode(ders[0]).decode()
    write_fetched(place, Fetched(at=NOW, sha256="0", anchors=(FetchedAnchor(der=der),)))
    (one,) = read_sets(tmp_path)
    assert not one.stale(NOW + 7 * DAY)
    assert one.stale(NOW + 7 * DAY + timedelta(seconds=1))
    write_fetched(place, Fetched(at=NOW, sha256="0", next_update=NOW + DAY, anchors=(FetchedAnchor(der=der),)))
    sets = read_sets(tmp_path)
    assert trusted(sets, NOW).anchors == (ders[0],)
    late = trusted(sets, NOW + 2 * DAY)
    assert (late.anchors, late.stale) == ((), ("eu",))


def test_the_key_finds_the_set_and_not_the_name():
    """A certificate of the same name with another key answers for nothing; the same key in another certificate does."""
    der, key = certificate("Root")
    renewed, _ = certificate("Root", key=key, days=20)
    namesake, _ = certificate("Root")
    sets = (
        AnchorSet("one", Kind.OWN, "One", (Anchor(namesake),)),
        AnchorSet("two", Kind.PUBLIC, "Two", (Anchor(renewed, (Purpose.TIMESTAMPS,)), Anchor(der))),
    )
    found = Trusted(sets).answer(Anchor(renewed).sha256, Purpose.SIGNATURES, NOW)
    assert (found.set.name, found.refusal) == ("two", None)
    assert Trusted(sets[:1]).answer(Anchor(der).sha256, Purpose.SIGNATURES, NOW) is None


# --- the answer in the report


def report(anchor: bytes, *, proven=NOW, stamp: bytes | None = None, document: bytes | None = None) -> FileReport:
    passed = {"indication": Indication.PASSED, "imprint_ok": True, "trusted": True}
    stamps = (TimestampReport(kind="signature", time=NOW, anchor=Anchor(stamp).sha256, **passed),) if stamp else ()
    over = (TimestampReport(kind="document", time=NOW, anchor=Anchor(document).sha256, **passed),) if document else ()
    return FileReport(
        file="x.pdf",
        judged_at=NOW + 100 * DAY,
        integrity=Integrity.INTACT,
        signatures=(
            SignatureReport(
                field="a",
                kind="approval",
                integrity=Integrity.INTACT,
                indication=Indication.PASSED,
                anchor=Anchor(anchor).sha256,
                proven_time=proven,
                timestamps=stamps,
            ),
        ),
        timestamps=over,
    )


def sets(*anchors: Anchor) -> Trusted:
    return Trusted((AnchorSet("neac", Kind.PUBLIC, "NEAC", anchors),))


def test_the_report_names_the_set_that_answers(ders):
    found = answered(report(ders[0], stamp=ders[1]), sets(Anchor(ders[0]), Anchor(ders[1])))
    (one,) = found.signatures
    assert found.verdict is Verdict.PASSED
    assert one.trusted_by is not None
    assert (one.trusted_by.set, one.trusted_by.kind, one.trusted_by.label) == ("neac", "public", "NEAC")
    assert one.trusted_by.authority == "Root 0"
    assert one.timestamps[0].trusted_by is not None


def test_a_service_withdrawn_then_takes_the_trust_away(ders):
    """TS 119 612 clause 5.5.4: a withdrawn service is no ground from its status starting time on."""
    granted = (Span(start=NOW - 9 * DAY, end=NOW - DAY),)
    trust = sets(Anchor(ders[0], granted=granted))
    found = answered(report(ders[0]), trust)
    (one,) = found.signatures
    assert found.verdict is Verdict.UNDETERMINED
    assert (one.indication, one.sub_indication) == (Indication.INDETERMINATE, Sub.NO_CERTIFICATE_CHAIN_FOUND)
    assert one.trusted_by is None
    assert [row.reason for row in one.findings] == ["service-not-granted-then"]
    assert answered(report(ders[0], proven=NOW - 2 * DAY), trust).verdict is Verdict.PASSED
    assert answered(report(ders[0], proven=None), trust).verdict is Verdict.UNDETERMINED, "judged as of now"


def test_an_anchor_for_timestamps_is_none_for_signatures(ders):
    found = answered(report(ders[0]), sets(Anchor(ders[0], (Purpose.TIMESTAMPS,))))
    assert [row.reason for row in found.signatures[0].findings] == ["anchor-not-for-signatures"]
    assert found.verdict is Verdict.UNDETERMINED


@pytest.mark.parametrize("where", ["stamp", "document"])
def test_an_anchor_for_signatures_proves_no_time(ders, where):
    """A time that only a foreign-purpose anchor vouches for is not proven: NO_POE (EN 319 102-1 clause 5.5)."""
    trust = sets(Anchor(ders[0], (Purpose.SIGNATURES,)), Anchor(ders[1], (Purpose.SIGNATURES,)))
    found = answered(report(ders[0], **{where: ders[1]}), trust)
    (one,) = found.signatures
    assert one.proven_time is None
    assert (one.indication, one.sub_indication) == (Indication.INDETERMINATE, Sub.NO_POE)
    assert one.trusted_by is not None
    stamp = (one.timestamps or found.timestamps)[0]
    assert (stamp.trusted, stamp.indication) == (False, Indication.INDETERMINATE)
    assert found.verdict is Verdict.UNDETERMINED


def test_an_anchor_of_no_set_is_no_anchor(ders):
    found = answered(report(ders[0]), sets(Anchor(ders[1])))
    assert [row.reason for row in found.signatures[0].findings] == ["anchor-unknown"]
    assert found.verdict is Verdict.UNDETERMINED


def test_an_answer_never_betters_a_verdict(ders):
    bad = report(ders[0])
    failing = bad.signatures[0].model_copy(update={"indication": Indication.FAILED, "sub_indication": Sub.REVOKED})
    found = answered(bad.model_copy(update={"signatures": (failing,)}), sets(Anchor(ders[1])))
    assert (found.signatures[0].indication, found.signatures[0].sub_indication) == (Indication.FAILED, Sub.REVOKED)


def test_stale_sets_are_told_in_the_report(ders):
    found = answered(report(ders[0]), Trusted((AnchorSet("own", Kind.OWN, "Own", (Anchor(ders[0]),)),), ("eu",)))
    (row,) = found.findings
    assert (row.code, row.reason, row.detail) == ("trust", "set-stale", {"sets": "eu"})
    assert found.verdict is Verdict.PASSED, "a notice: another set answered"


# --- the running service


def test_what_is_removed_counts_at_once(tmp_path, ders):
    anchors, store = tmp_path / "anchors", tmp_path / "trust"
    anchors.mkdir()
    (anchors / "root.der").write_bytes(ders[0])
    folders = TrustFolders(anchors, store, SystemClock())
    assert folders.now().anchors == (ders[0],)
    (store / "neac").mkdir(parents=True)
    (store / "neac" / "root.pem").write_bytes(pem(ders[1]))
    assert folders.now().anchors == (ders[0], ders[1])
    (anchors / "root.der").unlink()
    (anchors / "other.der").write_bytes(ders[2])
    assert folders.now().anchors == (ders[2], ders[1])
    (store / "neac" / "set.json").write_text(json.dumps({"kind": "none"}))
    with pytest.raises(Unavailable, match=r"set\.json"):
        folders.now()


def test_a_service_without_any_anchor_does_not_start(tmp_path):
    with pytest.raises(Refused, match="no trusted certificate"):
        TrustFolders(None, tmp_path / "trust", SystemClock())
