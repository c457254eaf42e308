"""Status data from outside: only trusted certificates are asked about, and what a file may cause is bounded."""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge
from signer_world import World

from events.errors import Unavailable
from services.runtime.outbound import Answer
from services.verifier.adapters.status import ADDRESSES, MOST, OnlineStatus
from services.verifier.engine import examine
from services.verifier.model import MissingStatus
from tests.support import pki
from tests.support.odd_certificates import WHOLLY


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge(World(base="http://status.example"))


@pytest.fixture(scope="module")
def signed(forge) -> bytes:
    return forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")


class Recorded:
    """A way out that writes down what it was asked for."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.urls: list[str] = []
        self.answer = answer

    async def call(self, method: str, url: str, **_: object) -> Answer:
        self.urls.append(url)
        if self.answer is None:
            raise Unavailable("outbound", found="no answer", expected="one", remedy="none")
        return self.answer


async def test_a_trusted_certificate_without_status_is_named_with_its_addresses(forge, signed):
    report = examine(signed, file="x", anchors=forge.anchors, now=forge.now)
    needs = [need for one in report.signatures for need in one.needs]
    assert needs
    assert all(url.startswith("http://status.example/") for need in needs for url in (*need.ocsp, *need.crl))
    assert all(need.issuer for need in needs)


@pytest.mark.parametrize("trusted", ["nobody", "somebody else"])
async def test_of_a_stranger_s_certificate_no_address_is_named(signed, trusted):
    """Whoever sends a file must not choose whom the service calls."""
    other = Forge()
    anchors = other.anchors if trusted == "somebody else" else []
    report = examine(signed, file="x", anchors=anchors, now=other.now)
    assert report.signatures
    assert [need for one in report.signatures for need in one.needs] == []


def need(number: int, ocsp: int = 0, crl: int = 1) -> MissingStatus:
    return MissingStatus(
        certificate=f"{number:04}",
        issuer=None,
        ocsp=tuple(f"http://status.example/o{number}/{each}" for each in range(ocsp)),
        crl=tuple(f"http://status.example/c{number}/{each}" for each in range(crl)),
    )


async def test_so_many_certificates_and_addresses_and_no_more():
    out = Recorded()
    found = await OnlineStatus(out, timeout=5, limit=1000).fetch([need(number, crl=9) for number in range(50)])
    assert found.crls == ()
    assert len(out.urls) == MOST * ADDRESSES


@pytest.mark.parametrize("kind", WHOLLY)
async def test_about_a_certificate_that_cannot_be_read_no_responder_is_asked_but_the_list_is(kind):
    """RFC 6960 clause 4.1.1: a request names the certificate; RFC 5280 clause 4.1: what is none has no name."""
    root = pki.issue("An authority", ca=True)
    leaf = pki.issue("Somebody", root)
    for certificate, issuer in ((WHOLLY[kind](leaf.der), root.der), (leaf.der, WHOLLY[kind](root.der))):
        out = Recorded(Answer(200, {}, b"a list"))
        wanted = need(1, ocsp=1).model_copy(
            update={
                "certificate": base64.b64encode(certificate).decode(),
                "issuer": base64.b64encode(issuer).decode(),
            }
        )
        found = await OnlineStatus(out, timeout=5, limit=1000).fetch([wanted])
        assert (found.ocsps, found.crls) == ((), (b"a list",))
        assert out.urls == list(wanted.crl)


async def test_the_whole_of_it_ends_and_what_came_by_then_is_used():
    class Slow(Recorded):
        async def call(self, method: str, url: str, **options: object) -> Answer:
            if len(self.urls) == 1:
                await asyncio.Event().wait()
            return await super().call(method, url, **options)

    out = Slow(Answer(200, {}, b"a list"))
    async with asyncio.timeout(30):
        found = await OnlineStatus(out, timeout=0.02, limit=1000).fetch([need(1), need(2), need(3)])
    assert found.crls == (b"a list",)
