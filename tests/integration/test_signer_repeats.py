"""The same order is the same digest to sign, however often it is tried: a key elsewhere is asked once for it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_world import desk, order

from events.errors import Unavailable
from events.values import BaselineLevel
from services.signer.model import SigningAlgorithm


@pytest.mark.parametrize("kind", sorted(pdfs.good()))
async def test_a_try_that_is_repeated_asks_for_the_same_digest(tmp_path, kind):
    """Were it not so, a person who approved on the phone would be asked again at each try."""
    pdf = pdfs.good()[kind]
    asked = []
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        sign = at.keys.sign

        async def later(permit):
            asked.append(permit)
            if len(asked) < 3:
                raise Unavailable("approval-pending", found="a", expected="b", remedy="c")
            return await sign(permit)

        at.keys.sign, at.keys.waits = later, True
        wanted = order(pdf, check.path, party.credential, party.algorithm, level=BaselineLevel.LTA)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await at.writer.sign(pdf, wanted, check.evidence)
            await at.authority.timestamp(wanted.redemption.base)  # how long tokens are is known from here on
        assert (await at.writer.sign(pdf, wanted, check.evidence)).pdf.startswith(pdf)
        assert len({one.attributes for one in asked}) == 1
        other = replace(wanted, redemption=replace(wanted.redemption, jti="another approval"), field="other")
        await at.writer.sign(pdf, other, check.evidence)
        assert asked[-1].attributes != asked[0].attributes
