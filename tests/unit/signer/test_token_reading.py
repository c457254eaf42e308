"""Tokens that were changed anywhere: either nothing that is relied on has changed, or there is no token."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import cms, tsp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from signer_world import NOW, World

from events.errors import Unavailable
from events.values import Digest
from services.signer.adapters import der
from services.signer.adapters.tokens import TokenChecker
from services.signer.adapters.tsa import request
from tests.support.odd_certificates import EXTENDED, WHOLLY

DIGEST, NONCE = Digest.of(b"some bytes"), (1 << 62) + 77


class Answered:
    """One good answer, and a checker that trusts its authority."""

    def __init__(self) -> None:
        self.world = World()
        self.world._make()
        self.body = self.world.token(tsp.TimeStampReq.load(request(DIGEST, NONCE)))
        self.good = self.check(self.body)

    def checker(self) -> TokenChecker:
        return TokenChecker([self.world.root.certificate], (), timedelta(hours=1))

    def check(self, body: bytes):
        return self.checker().check(body, digest=DIGEST, nonce=NONCE, now=NOW)


def changed(body: bytes, data: st.DataObject) -> bytes:
    """The answer with one octet changed."""
    found = bytearray(body)
    found[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(found)


@pytest.fixture(scope="module")
def answered() -> Answered:
    return Answered()


def test_the_request_is_what_the_standard_says():
    asked = tsp.TimeStampReq.load(request(DIGEST, NONCE), strict=True)
    assert asked["version"].native == "v1"
    assert asked["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha256"
    assert asked["message_imprint"]["hashed_message"].native == DIGEST.raw
    assert (asked["nonce"].native, asked["cert_req"].native) == (NONCE, True)
    assert asked.dump(force=True) == request(DIGEST, NONCE)


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_octet_changes_nothing_relied_on_or_gives_no_token(answered, data):
    body = changed(answered.body, data)
    try:
        token = answered.check(body)
    except Unavailable:
        return
    assert (token.time, token.path) == (answered.good.time, answered.good.path)


def test_a_certificate_of_a_version_that_does_not_exist_is_a_malformed_answer(answered):
    """RFC 5280 clause 4.1.2.1: v1, v2 or v3."""
    version = b"\xa0\x03\x02\x01"
    assert version + b"\x02" in answered.body
    with pytest.raises(Unavailable, match="timestamp-malformed"):
        answered.check(answered.body.replace(version + b"\x02", version + b"\x07"))


@pytest.mark.parametrize("kind", WHOLLY | EXTENDED)
def test_an_authority_s_certificate_that_cannot_be_read_to_the_end_is_a_malformed_answer(answered, kind):
    """RFC 5280 clauses 4.1.2.1, 4.1.2.4, 4.1.2.5, 4.2."""
    body = tsp.TimeStampResp.load(answered.body)
    odd = cms.CertificateChoices.load((WHOLLY | EXTENDED)[kind](answered.world.tsa.der))
    body["time_stamp_token"]["content"]["certificates"] = [odd]
    with pytest.raises(Unavailable, match="timestamp-malformed"):
        answered.check(body.dump())


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_checker_that_read_an_answer_before_says_of_a_changed_one_what_a_new_one_says(answered, data):
    body = changed(answered.body, data)

    def said(checker: TokenChecker) -> object:
        try:
            return checker.check(body, digest=DIGEST, nonce=NONCE, now=NOW)
        except Unavailable as fault:
            return fault.code, fault.found

    warm, new = answered.checker(), answered.checker()
    assert warm.check(answered.body, digest=DIGEST, nonce=NONCE, now=NOW) == answered.good
    assert said(warm) == said(new)


def test_a_token_says_which_certificates_of_its_path_it_carries(answered):
    """RFC 3161 clause 2.4.1: the authority's own is asked for; its issuers may be there or not."""
    leaf, root = answered.good.path
    assert answered.good.carried == (leaf, root)
    body = tsp.TimeStampResp.load(answered.body)
    body["time_stamp_token"]["content"]["certificates"] = [cms.CertificateChoices.load(leaf)]
    alone = answered.check(body.dump())
    assert (alone.path, alone.carried) == ((leaf, root), (leaf,))


def test_the_next_answer_is_read_where_the_last_one_was(answered):
    checker = answered.checker()
    checker.check(answered.body, digest=DIGEST, nonce=NONCE, now=NOW)
    # Looked at, not replaced: compiled, the checker would not notice another `_read`.
    layout = checker._layouts[len(answered.body)]
    other, nonce = Digest.of(b"other bytes"), (1 << 62) + 78
    asked = tsp.TimeStampReq.load(request(other, nonce))
    # Serial numbers of chance are an octet longer now and then.
    body = next(one for _ in range(100) if len(one := answered.world.token(asked)) == len(answered.body))
    assert checker.check(body, digest=other, nonce=nonce, now=NOW).der in body
    assert checker._layouts[len(answered.body)] is layout
    with pytest.raises(Unavailable, match="timestamp-imprint"):
        checker.check(body, digest=DIGEST, nonce=nonce, now=NOW)
    with pytest.raises(Unavailable, match="timestamp-nonce"):
        checker.check(body, digest=other, nonce=NONCE, now=NOW)


def test_a_known_signer_is_named_by_the_method_that_the_token_says(answered):
    """RFC 5035 clause 4: the hash is by hashAlgorithm; a checker that knows the authority asks for no less."""
    world = answered.world

    def misnamed() -> bytes:
        body = tsp.TimeStampResp.load(answered.body)
        (signer,) = body["time_stamp_token"]["content"]["signer_infos"]
        for one in signer["signed_attrs"]:
            if one["type"].native == "signing_certificate_v2":
                one["values"][0]["certs"][0]["hash_algorithm"] = {"algorithm": "sha512"}
        signed = cms.CMSAttributes(list(signer["signed_attrs"])).dump(force=True)
        signer["signature"] = world.tsa.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return body.dump(force=True)

    warm = answered.checker()
    warm.check(answered.body, digest=DIGEST, nonce=NONCE, now=NOW)
    for checker in (answered.checker(), warm):
        with pytest.raises(Unavailable, match="timestamp-signer"):
            checker.check(misnamed(), digest=DIGEST, nonce=NONCE, now=NOW)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_garbage_is_an_answer_that_says_so(answered, body):
    with pytest.raises(Unavailable):
        answered.check(body)


@pytest.mark.parametrize("cut", [1, 10, 100, 1000])
def test_a_cut_answer_is_malformed(answered, cut):
    with pytest.raises(Unavailable, match="timestamp-malformed"):
        answered.check(answered.body[:-cut])


def test_an_indefinite_length_is_refused():
    """ISO 32000-2 clause 12.8.3.3: what stands in /Contents is DER."""
    with pytest.raises(ValueError, match="not DER"):
        der.whole(b"\x30\x80\x02\x01\x00\x00\x00", der.SEQUENCE)


@given(st.binary(max_size=70_000))
def test_what_is_written_is_read(content):
    written = der.tlv(der.OCTETS, content)
    tag, begins, start, end = der.whole(written, der.OCTETS)
    assert (tag, begins, written[start:end], end) == (der.OCTETS, 0, content, len(written))


@given(st.integers(0, 1 << 200))
def test_integers_are_as_the_standard_writes_them(value):
    from asn1crypto import core

    assert der.integer(value) == core.Integer(value).dump()
