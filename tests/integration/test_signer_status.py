"""How certificates stand: asked before each signature, believed only after checking, closed when unknown."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from signer_world import NOW, World, desk

from events.errors import Refused, Unavailable
from services.runtime.clock import SystemClock
from services.signer.adapters.status import OnlineStatus
from services.signer.model import Role, SigningAlgorithm, Standing
from tests.support.clocks import StillClock


async def test_signer_and_issuer_are_checked_and_the_evidence_is_kept(tmp_path):
    """Decree 23/2025/ND-CP Art 15; Circular 15/2025/TT-BKHCN Art 5 (S1, S9, S11)."""
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        found = await at.status.check(party.chain[:1] + party.chain[1:2])
        found.decide()
        assert [(row.role, row.standing, row.source) for row in found.rows] == [
            (Role.SIGNER, Standing.GOOD, "ocsp"),
            (Role.ISSUER, Standing.GOOD, "ocsp"),
        ]
        assert found.path == party.chain
        assert len(found.evidence.ocsps) == 2
        assert {"rows", "path", "ocsps", "crls", "checked_at"} <= found.data().keys()


async def test_the_signers_own_status_is_always_fresh_and_the_issuers_is_kept(tmp_path):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        await at.status.check(party.chain)
        await at.status.check(party.chain)
        assert at.world.asked.count("ocsp") == 3
        at.world.revoked[party.serial] = x509.ReasonFlags.certificate_hold
        with pytest.raises(Refused, match="certificate-suspended"):
            (await at.status.check(party.chain)).decide()


async def test_a_kept_answer_is_used_up_to_its_next_update_and_never_past_it(tmp_path):
    """RFC 6960 clause 4.2.2.1: at nextUpdate, or before it, newer information will be available."""
    clock = StillClock(NOW)
    async with desk(tmp_path, clock=clock) as at:
        status = OnlineStatus(at.outbound, [at.world.root.certificate], clock)
        path = (at.world.tsa.der, at.world.root.der)
        first = await status.evidence(path)
        clock.pass_by(3599)
        assert await status.evidence(path) is first
        assert at.world.asked == ["ocsp"]
        clock.pass_by(1)
        second = await status.evidence(path)
        assert at.world.asked == ["ocsp", "ocsp"]
        assert second.ocsps != first.ocsps
        at.world.revoked[at.world.tsa.certificate.serial_number] = x509.ReasonFlags.key_compromise
        clock.pass_by(3600)
        with pytest.raises(Unavailable, match="timestamp-authority-status"):
            await status.evidence(path)


async def test_an_issuers_answer_is_asked_anew_once_its_time_is_over(tmp_path):
    clock = StillClock(NOW)
    async with desk(tmp_path, clock=clock) as at:
        status = OnlineStatus(at.outbound, [at.world.root.certificate], clock)
        party = await at.party(SigningAlgorithm.P256)
        for seconds, asked in ((0, 2), (1800, 3), (1799, 4), (1, 6)):
            clock.pass_by(seconds)
            (await status.check(party.chain)).decide()
            assert at.world.asked.count("ocsp") == asked  # the signer's each time, the issuer's once an hour


async def test_a_signers_crl_is_looked_at_each_time_but_not_fetched_each_time(tmp_path):
    """S1: the status before each signature; RFC 9110 clause 13: 304 when the CRL is still the same."""
    async with desk(tmp_path, offer_ocsp=False) as at:
        party = await at.party(SigningAlgorithm.P256)
        for _ in range(3):
            (await at.status.check(party.chain)).decide()
        assert at.world.asked == ["crl", "crl", "crl", "crl-unchanged", "crl", "crl-unchanged"]
        at.world.revoked[party.serial] = x509.ReasonFlags.certificate_hold
        with pytest.raises(Refused, match="certificate-suspended"):
            (await at.status.check(party.chain)).decide()


async def test_a_large_crl_stands_in_for_no_responder_but_serves_where_there_is_none(tmp_path):
    async with desk(tmp_path, ocsp_mode="down", crl_filling=200) as at:
        party = await at.party(SigningAlgorithm.P256)
        small = OnlineStatus(at.outbound, [at.world.root.certificate], SystemClock(), embedded=2_000)
        found = await small.check(party.chain)
        assert found.rows[0].standing is Standing.UNKNOWN
        assert "too large" in (found.rows[0].why_unknown or "")
        at.world.revoked[party.serial] = x509.ReasonFlags.key_compromise
        with pytest.raises(Refused, match="certificate-revoked"):  # what it says against a certificate counts
            (await small.check(party.chain)).decide()
        at.world.ocsp_mode = "ok"
        del at.world.revoked[party.serial]
        again = await small.check(party.chain)
        again.decide()
        assert not again.evidence.crls
    async with desk(tmp_path, offer_ocsp=False, crl_filling=200) as at:
        party = await at.party(SigningAlgorithm.P256)
        small = OnlineStatus(at.outbound, [at.world.root.certificate], SystemClock(), embedded=2_000)
        found = await small.check(party.chain)
        found.decide()
        assert max(len(crl) for crl in found.evidence.crls) > 2_000


@pytest.mark.parametrize("offer_ocsp", [True, False])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (x509.ReasonFlags.certificate_hold, "certificate-suspended"),
        (x509.ReasonFlags.key_compromise, "certificate-revoked"),
        (x509.ReasonFlags.cessation_of_operation, "certificate-revoked"),
    ],
)
async def test_a_revoked_or_suspended_certificate_does_not_sign(tmp_path, offer_ocsp, reason, code):
    async with desk(tmp_path, offer_ocsp=offer_ocsp) as at:
        party = await at.party(SigningAlgorithm.P256)
        at.world.revoked[party.serial] = reason
        found = await at.status.check(party.chain)
        assert found.rows[0].source == ("ocsp" if offer_ocsp else "crl")
        with pytest.raises(Refused) as refused:
            found.decide()
        assert refused.value.code == code


async def test_a_revoked_issuer_stops_its_subscribers(tmp_path):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        at.world.revoked[at.world.issuing.certificate.serial_number] = x509.ReasonFlags.ca_compromise
        with pytest.raises(Refused, match="issuer-revoked"):
            (await at.status.check(party.chain)).decide()


BAD_OCSP = [
    "down", "slow", "nonsense", "huge", "redirect", "stale", "future", "impostor", "other", "unknown", "replayed",
    "tampered",
]  # fmt: skip


@pytest.mark.parametrize("mode", BAD_OCSP)
async def test_a_bad_ocsp_answer_is_not_believed_and_the_crl_is_asked(tmp_path, mode):
    """RFC 6960 clause 3.2: the acceptance requirements of a response."""
    async with desk(tmp_path, timeout=0.4, ocsp_mode=mode) as at:
        party = await at.party(SigningAlgorithm.P256)
        found = await at.status.check(party.chain)
        found.decide()
        assert {row.source for row in found.rows} == {"crl"}
        assert not found.evidence.ocsps


@pytest.mark.parametrize("mode", ["down", "slow", "nonsense", "stale", "impostor", "delta"])
async def test_no_usable_source_means_unknown_and_unknown_is_closed(tmp_path, mode):
    async with desk(tmp_path, timeout=0.4, ocsp_mode="down", crl_mode=mode) as at:
        party = await at.party(SigningAlgorithm.P256)
        with pytest.raises(Unavailable, match="status-unknown"):
            (await at.status.check(party.chain)).decide()


async def test_evidence_from_before_the_certificate_is_none(tmp_path):
    """A validator refuses status material older than the certificate's notBefore: it cannot speak of it."""
    async with desk(tmp_path, offer_ocsp=False) as at:
        party = await at.party(SigningAlgorithm.P256, not_before=NOW)
        found = await at.status.check(party.chain)
        assert found.rows[0].standing is Standing.UNKNOWN
        assert "notBefore" in (found.rows[0].why_unknown or "")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=1)}, "certificate-expired"),
        ({"not_before": NOW + timedelta(days=1)}, "certificate-not-yet-valid"),
        ({"ca": True}, "certificate-usage"),
        (
            {"extra": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
            "certificate-critical-extension",
        ),
    ],
)
async def test_a_certificate_that_cannot_sign_is_refused_before_anything_is_asked(tmp_path, options, code):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256, **options)
        with pytest.raises(Refused) as found:
            await at.status.check(party.chain)
        assert found.value.code == code
        assert not at.world.asked


async def test_a_chain_to_another_root_is_refused(tmp_path):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        other = World()
        runner = await other.start()
        try:
            stranger = other.subscriber(await at.keys.create(party.credential, SigningAlgorithm.P256), "Kẻ lạ")
            with pytest.raises(Refused, match="certificate-not-trusted"):
                await at.status.check(stranger)
        finally:
            await runner.cleanup()


async def test_garbage_for_a_chain_is_refused(tmp_path):
    async with desk(tmp_path) as at:
        for chain in ((), (b"garbage",)):
            with pytest.raises(Refused, match="certificate-malformed"):
                await at.status.check(chain)
