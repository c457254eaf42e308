"""Trusted time fails closed: no token that does not stand up to checking ever reaches a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_world import desk

from events.errors import Unavailable
from events.values import BaselineLevel, Digest
from services.signer.model import SigningAlgorithm

FAULTS = {
    "down": "timestamp-authority",
    "slow": "timestamp-authority",
    "huge": "timestamp-authority",
    "redirect": "timestamp-authority",
    "html": "timestamp-media-type",
    "nonsense": "timestamp-malformed",
    "refused": "timestamp-refused",
    "wrong-imprint": "timestamp-imprint",
    "wrong-nonce": "timestamp-nonce",
    "no-nonce": "timestamp-nonce",
    "future": "timestamp-time",
    "past": "timestamp-time",
    "wrong-ess": "timestamp-signer",
    "no-certificate": "timestamp-signer",
    "bad-signature": "timestamp-signature",
    "no-eku": "timestamp-purpose",
    "soft-eku": "timestamp-purpose",
    "other-root": "timestamp-authority-untrusted",
}


async def test_a_good_token_is_over_what_was_sent(tmp_path):
    async with desk(tmp_path) as at:
        digest = Digest.of(b"some bytes")
        token = await at.authority.timestamp(digest)
        assert token.path[0] == at.world.tsa.der
        assert token.path[-1] == at.world.root.der


@pytest.mark.parametrize(("mode", "code"), FAULTS.items())
async def test_a_bad_answer_gives_no_token(tmp_path, mode, code):
    """RFC 3161 clause 2.2: verify the status, the imprint, the nonce, the signer and the time."""
    # Only the slow authority is given little time: others make their keys first, which a busy machine draws out.
    async with desk(tmp_path, timeout=0.4 if mode == "slow" else 20, tsa_mode=mode) as at:
        with pytest.raises(Unavailable) as found:
            await at.authority.timestamp(Digest.of(b"some bytes"))
        assert found.value.code == code


@pytest.mark.parametrize("mode", ["down", "wrong-imprint", "other-root"])
@pytest.mark.parametrize("level", [BaselineLevel.T, BaselineLevel.LTA])
async def test_without_trusted_time_nothing_is_released_and_later_all_is_well(tmp_path, mode, level):
    async with desk(tmp_path, timeout=1) as at:
        party = await at.party(SigningAlgorithm.P256)
        at.world.tsa_mode = mode
        with pytest.raises(Unavailable):
            await party.sign(pdfs.minimal(), level=level)
        at.world.tsa_mode = "ok"
        assert (await party.sign(pdfs.minimal(), level=level)).startswith(pdfs.minimal())


async def test_an_authority_that_fails_between_the_two_timestamps_releases_nothing(tmp_path):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        asked = at.authority.timestamp
        calls = []

        async def second_fails(digest):
            calls.append(digest)
            if len(calls) == 2:
                at.world.tsa_mode = "down"
            return await asked(digest)

        at.authority.timestamp = second_fails
        with pytest.raises(Unavailable):
            await party.sign(pdfs.minimal())
        assert len(calls) == 2


async def test_a_revoked_timestamp_authority_releases_nothing(tmp_path):
    from cryptography.x509 import ReasonFlags

    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        at.world.revoked[at.world.tsa.certificate.serial_number] = ReasonFlags.key_compromise
        with pytest.raises(Unavailable, match="timestamp-authority-status"):
            await party.sign(pdfs.minimal())


async def test_b_needs_no_time(tmp_path):
    async with desk(tmp_path, tsa_mode="down") as at:
        party = await at.party(SigningAlgorithm.P256)
        await party.sign(pdfs.minimal(), level=BaselineLevel.B)
        assert "tsa" not in at.world.asked
