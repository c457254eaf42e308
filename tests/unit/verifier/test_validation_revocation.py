"""Status at a moment: who may say it (RFC 6960, RFC 5280 clause 6.3), of whom, and for how long it counts."""

from __future__ import annotations

import base64
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from pki import DAY, NOON, Holder, issue, name, resigned, response, revocation_list

from services.verifier.validation import crl, ocsp
from services.verifier.validation.certificates import Certificate
from services.verifier.validation.crl import Crl
from services.verifier.validation.der import Malformed
from services.verifier.validation.ocsp import Response
from services.verifier.validation.revocation import Standing, Status

ROOT = issue("Gốc", ca=True)
CA = issue("CA", ROOT, ca=True)
POINT = x509.UniformResourceIdentifier("http://crl.test/1.crl")


def points(*each: x509.DistributionPoint) -> tuple[x509.ExtensionType, bool]:
    return x509.CRLDistributionPoints(each), False


LEAF = issue("A", CA)
AT_POINT = issue("A", CA, extensions=(points(x509.DistributionPoint([POINT], None, None, None)),))
OCSP_PURPOSE = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
NO_CHECK = (x509.OCSPNoCheck(), False)
SERIAL = LEAF.issued.serial_number


def status(
    *evidence: bytes, leaf: Holder = LEAF, issuer: Holder = CA, at=NOON, now=NOON, others: tuple[Holder, ...] = ()
) -> Status:
    standing = Standing([ROOT.read], now)
    standing.add([each.der for each in (CA, *others)], ocsps=evidence, crls=evidence)
    return standing.status(leaf.read, issuer.read, at)


# --- OCSP: RFC 6960 --------------------------------------------------------------------------------------------------


def test_the_issuer_itself_may_answer():
    for by_key in (False, True):
        found = status(response(LEAF, CA, by_key=by_key))
        assert found.known
        assert (found.revoked_at, found.evidence.source) == (None, "ocsp")


def test_a_delegate_of_the_issuer_may_answer():
    delegate = issue("Máy trả lời", CA, extensions=(OCSP_PURPOSE, NO_CHECK))
    assert status(response(LEAF, CA, delegate)).known
    assert status(response(LEAF, CA, delegate, embed=False), others=(delegate,)).known
    assert status(response(LEAF, CA, delegate, embed=False)).rejected == "responder-not-found"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: issue("B", CA, extensions=(NO_CHECK,)), "responder-not-authorised"),
        (lambda: issue("B", ROOT, extensions=(OCSP_PURPOSE, NO_CHECK)), "responder-not-authorised"),
        (lambda: issue("B", extensions=(OCSP_PURPOSE, NO_CHECK)), "responder-not-authorised"),
        (
            lambda: issue("B", issue("CA", ca=True), extensions=(OCSP_PURPOSE, NO_CHECK)),
            "responder-not-authorised",
        ),
        (
            lambda: issue("B", CA, extensions=(OCSP_PURPOSE, NO_CHECK), not_after=NOON - 50 * DAY),
            "responder-not-valid-then",
        ),
        (lambda: issue("B", CA, extensions=(OCSP_PURPOSE,)), "responder-status-unknown"),
    ],
    ids=["no-purpose", "of-another-authority", "self-made", "of-a-namesake", "expired", "status-unknown"],
)
def test_nobody_else_may_answer(make, reason):
    """RFC 6960 clause 4.2.2.2: the issuer, or whom the issuer itself authorised for OCSP signing."""
    found = status(response(LEAF, CA, make()))
    assert (found.known, found.rejected) == (False, reason)


def test_a_responder_without_nocheck_counts_while_a_crl_calls_it_good():
    """RFC 6960 clause 4.2.2.2.1."""
    delegate = issue("B", CA, extensions=(OCSP_PURPOSE,))
    said = response(LEAF, CA, delegate, this=NOON - timedelta(hours=1))
    standing = Standing([ROOT.read], NOON)
    standing.add([CA.der], [said], [revocation_list(CA, this=NOON - DAY, until=NOON + 400 * DAY)])
    assert standing.status(LEAF.read, CA.read, NOON).known
    standing = Standing([ROOT.read], NOON)
    revoked = revocation_list(CA, {delegate.issued.serial_number: NOON - 20 * DAY, SERIAL: NOON - 9 * DAY})
    standing.add([CA.der], [said], [revoked])
    found = standing.status(LEAF.read, CA.read, NOON)
    assert found.evidence.source == "crl"


def test_a_wrong_signature_is_nothing():
    namesake = issue("CA", ROOT, ca=True)
    assert status(response(LEAF, CA, namesake, embed=False)).rejected == "response-signature-wrong"


def test_an_answer_about_somebody_else_says_nothing():
    """RFC 6960 clause 4.1.1: CertID is serial, issuer's name and issuer's key."""
    assert status(response(issue("B", CA), CA)).rejected is None
    namesake = issue("CA", ROOT, ca=True)
    twin = issue("A", namesake, serial=SERIAL)
    assert not status(response(twin, namesake), others=(namesake,)).known


def test_an_answer_may_name_the_certificate_by_any_digest():
    assert status(response(LEAF, CA, algorithm=hashes.SHA256())).known


def test_unknown_is_not_good():
    """RFC 6960 clause 2.2."""
    found = status(response(LEAF, CA, unknown=True))
    assert not found.known


def test_a_revocation_is_told_with_its_moment_and_reason():
    found = status(response(LEAF, CA, revoked_at=NOON - 3 * DAY))
    assert (found.revoked_at, found.evidence.reason) == (NOON - 3 * DAY, "key_compromise")


# --- CRL: RFC 5280 clauses 5 and 6.3 ----------------------------------------------------------------------------------


def test_a_list_tells_who_is_revoked_and_who_is_not():
    listed = revocation_list(CA, {SERIAL: NOON - 2 * DAY, 5: NOON - 3 * DAY}, reason=x509.ReasonFlags.certificate_hold)
    found = status(listed)
    assert (found.revoked_at, found.evidence.reason) == (NOON - 2 * DAY, "certificate_hold")
    assert status(listed, leaf=issue("B", CA)).revoked_at is None


def test_a_serial_that_stands_in_the_list_by_chance_is_not_revoked():
    """The look for the octets only spares the walk: an entry must be this certificate's."""
    short = issue("B", CA, serial=1)
    assert status(revocation_list(CA, {0x0101: NOON - DAY}), leaf=short).revoked_at is None
    assert status(revocation_list(CA, {0x0101: NOON - DAY, 1: NOON - DAY}), leaf=short).revoked_at == NOON - DAY


def test_a_negative_serial_is_found_however_the_list_writes_it():
    odd = issue("B", CA, serial=0x80FF)
    negative = Certificate(resigned(odd, CA, bytes.fromhex("02030080ff"), bytes.fromhex("020280ff")))
    standing = Standing([ROOT.read], NOON)
    standing.add([CA.der], crls=[revocation_list(CA, {0x80FF: NOON - DAY})])
    assert standing.status(negative, CA.read, NOON).revoked_at == NOON - DAY


def test_a_list_may_be_pem():
    der = revocation_list(CA)
    armoured = b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(der) + b"-----END X509 CRL-----\n"
    assert status(armoured).known
    with pytest.raises(Malformed):
        Crl(armoured + armoured)


def test_a_list_of_another_issuer_says_nothing():
    assert status(revocation_list(ROOT)).rejected is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: revocation_list(CA, key=ec.generate_private_key(ec.SECP256R1())), "crl-signature-wrong"),
        (
            lambda: revocation_list(
                CA, extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"), True),)
            ),
            "crl-unknown-critical-extension",
        ),
    ],
)
def test_lists_that_do_not_count(make, reason):
    """RFC 5280 clauses 6.3.3 (g) and 5.2."""
    assert status(make()).rejected == reason


def test_the_issuer_must_be_allowed_to_sign_lists():
    """RFC 5280 clause 6.3.3 (f)."""
    mute = issue("CA câm", ROOT, ca=True, usages=("key_cert_sign",))
    leaf = issue("A", mute)
    assert status(revocation_list(mute), leaf=leaf, issuer=mute).rejected == "crl-issuer-not-authorised"


def test_another_key_of_the_same_authority_may_sign_its_lists():
    """RFC 5280 clause 6.3.3 (f): a valid path of the list's issuer to the same anchor."""
    second = issue("CA", ROOT, ca=True, usages=("crl_sign",))
    assert status(revocation_list(second), others=(second,)).known
    stranger = issue("CA", issue("Gốc", ca=True), ca=True)
    assert status(revocation_list(stranger), others=(stranger,)).rejected == "crl-issuer-not-authorised"


def scoped(**options) -> tuple[x509.ExtensionType, bool]:
    given = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**given | options), True


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        ({"only_contains_user_certs": True}, True),
        ({"only_contains_ca_certs": True}, False),
        ({"only_contains_attribute_certs": True}, False),
        ({"only_some_reasons": frozenset({x509.ReasonFlags.key_compromise})}, False),
        ({"full_name": [POINT]}, True),
        ({"full_name": [x509.UniformResourceIdentifier("http://crl.test/2.crl")]}, False),
        ({"relative_name": x509.RelativeDistinguishedName(list(name("L").rdns[1]))}, False),
    ],
)
def test_a_list_counts_within_its_scope_only(scope, counts):
    """RFC 5280 clauses 5.2.5 and 6.3.3 (b): a shard of the lists must not vouch for another shard's certificates."""
    found = status(revocation_list(CA, extensions=(scoped(**scope),)), leaf=AT_POINT)
    assert (found.known, found.rejected) == ((True, None) if counts else (False, "crl-out-of-scope"))


def test_a_list_for_authorities_speaks_of_authorities():
    listed = revocation_list(ROOT, extensions=(scoped(only_contains_ca_certs=True),))
    assert status(listed, leaf=CA, issuer=ROOT).known
    listed = revocation_list(ROOT, extensions=(scoped(only_contains_user_certs=True),))
    assert status(listed, leaf=CA, issuer=ROOT).rejected == "crl-out-of-scope"


def test_a_list_of_some_reasons_still_tells_who_is_revoked():
    some = scoped(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))
    listed = revocation_list(CA, {AT_POINT.issued.serial_number: NOON - DAY}, extensions=(some,))
    assert status(listed, leaf=AT_POINT).revoked_at == NOON - DAY


def test_a_certificate_without_points_takes_the_list_of_its_issuers_name():
    """RFC 5280 clause 6.3.3: such a list is taken to be at the point that the issuer's name is."""
    own = scoped(full_name=[x509.DirectoryName(CA.issued.subject)])
    assert status(revocation_list(CA, extensions=(own,))).known
    elsewhere = scoped(full_name=[x509.DirectoryName(name("Nơi khác"))])
    assert status(revocation_list(CA, extensions=(elsewhere,))).rejected == "crl-out-of-scope"


def test_an_indirect_list_speaks_for_the_issuers_that_its_entries_name():
    """RFC 5280 clauses 5.3.3 and 6.3.3 (b) (1)."""
    speaker = issue("Người phát CRL", ROOT, ca=True)
    named = points(x509.DistributionPoint(None, None, None, [x509.DirectoryName(speaker.issued.subject)]))
    leaf = issue("A", CA, extensions=(named,))
    serial = leaf.issued.serial_number
    indirect = (scoped(indirect_crl=True),)
    good = revocation_list(speaker, extensions=indirect)
    mine = revocation_list(speaker, {serial: NOON - DAY}, extensions=indirect, entry_issuer=CA.issued.subject)
    others = revocation_list(speaker, {serial: NOON - DAY}, extensions=indirect)
    direct = revocation_list(speaker)
    assert status(good, leaf=leaf, others=(speaker,)).known
    assert status(mine, leaf=leaf, others=(speaker,)).revoked_at == NOON - DAY
    assert status(others, leaf=leaf, others=(speaker,)).revoked_at is None
    assert not status(direct, leaf=leaf, others=(speaker,)).known
    assert not status(good, others=(speaker,)).known, "whoever does not point at it is not spoken of"


def test_a_delta_counts_with_the_list_that_it_builds_on():
    """RFC 5280 clause 5.2.4."""
    base = revocation_list(CA, {SERIAL: NOON - 9 * DAY}, number=5, this=NOON - 8 * DAY, until=NOON - DAY)
    clean = revocation_list(CA, number=5, this=NOON - 8 * DAY, until=NOON - DAY)
    delta = (x509.DeltaCRLIndicator(5), True)
    fresh = {"number": 7, "this": NOON - timedelta(hours=1), "extensions": (delta,)}
    quiet = revocation_list(CA, **fresh)
    newly = revocation_list(CA, {SERIAL: NOON - timedelta(hours=2)}, **fresh)
    freed = revocation_list(CA, {SERIAL: NOON - timedelta(hours=2)}, reason=x509.ReasonFlags.remove_from_crl, **fresh)
    assert status(clean).rejected == "evidence-stale"
    assert status(clean, quiet).known
    assert status(clean, quiet).revoked_at is None
    assert status(base, quiet).revoked_at == NOON - 9 * DAY
    assert status(newly).revoked_at == NOON - timedelta(hours=2)
    assert status(quiet).rejected == "crl-out-of-scope"
    other_base = revocation_list(CA, number=4, this=NOON - 8 * DAY, until=NOON - DAY)
    assert status(other_base, quiet).rejected is not None
    clean_freed = status(clean, freed)
    assert (clean_freed.known, clean_freed.revoked_at) == (True, None)


def test_a_crowd_of_namesakes_is_not_tried_for_ever(monkeypatch):
    """A file may bring thousands of certificates of one name for thousands of responses."""
    delegate = issue("Máy trả lời", CA, extensions=(OCSP_PURPOSE, NO_CHECK))
    second = issue("CA", ROOT, ca=True, usages=("crl_sign",))
    for by_key in (False, True):
        said = response(LEAF, CA, delegate, embed=False, by_key=by_key)
        assert status(said, others=(delegate,)).known
        monkeypatch.setattr(ocsp, "MOST_CANDIDATES", 0)
        assert status(said, others=(delegate,)).rejected == "responder-not-found"
        monkeypatch.undo()
    monkeypatch.setattr(crl, "MOST_CANDIDATES", 0)
    assert status(revocation_list(second), others=(second,)).rejected == "crl-signature-wrong"


# --- the moment: EN 319 102-1 clause 5.2.5 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("this", "until", "at", "reason"),
    [
        (-1, 6, 0, None),
        (-9, -8, 0, "evidence-stale"),
        (-1, 6, -5, None),
        (1, 6, 0, "evidence-from-the-future"),
        (-101, 6, 0, "evidence-before-certificate"),
    ],
)
def test_evidence_counts_while_it_is_fresh_at_the_moment(this, until, at, reason):
    said = response(LEAF, CA, this=NOON + this * DAY, until=NOON + until * DAY)
    found = status(said, at=NOON + at * DAY)
    assert found.rejected == reason
    assert found.known is (reason is None)


def test_evidence_from_after_the_expiry_counts_only_if_it_says_so():
    """RFC 6960 clause 4.4.4 and X.509's expiredCertsOnCRL: otherwise expired certificates may have been dropped."""
    at, now = NOON, NOON + 200 * DAY
    later = {"this": NOON + 150 * DAY, "until": NOON + 300 * DAY}
    assert status(revocation_list(CA, **later), at=at, now=now).rejected == "evidence-after-expiry"
    kept = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.60"), b"\x18\x0f20200101000000Z")
    assert status(revocation_list(CA, extensions=((kept, False),), **later), at=at, now=now).known


def test_an_authentic_revocation_from_before_always_counts():
    stale = revocation_list(CA, {SERIAL: NOON - 50 * DAY}, this=NOON - 40 * DAY, until=NOON - 39 * DAY)
    fresh = response(LEAF, CA)
    assert status(stale, fresh).revoked_at == NOON - 50 * DAY


def test_a_revocation_from_after_the_moment_is_told_and_does_not_undo_it():
    found = status(response(LEAF, CA, revoked_at=NOON - DAY), at=NOON - 5 * DAY)
    assert found.known
    assert found.revoked_at == NOON - DAY


def test_evidence_under_a_broken_algorithm_proves_nothing():
    """Circular 15/2025/TT-BKHCN App. I."""
    weak = issue("CA yếu", ROOT, ca=True, key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - that is the case
    leaf = issue("A", weak)
    assert status(revocation_list(weak), leaf=leaf, issuer=weak).rejected == "evidence-weak-algorithm"


def test_a_level_counts_only_the_evidence_of_its_own_store():
    """EN 319 142-1 clause 6.3: the data must stand in the DSS, not merely somewhere."""
    standing = Standing([ROOT.read], NOON)
    mine, other = revocation_list(CA), revocation_list(CA, number=2)
    standing.add([CA.der], crls=[mine, other])
    assert standing.has_evidence(LEAF.read, (), (mine,))
    assert not standing.has_evidence(LEAF.read, (), ())
    assert not standing.has_evidence(LEAF.read, (), (revocation_list(CA, number=3),))
    assert not standing.has_evidence(issue("B", issue("CA lạ", ca=True)).read, (), (mine,))


_SEEDS = [
    response(LEAF, CA),
    response(LEAF, CA, issue("B", CA, extensions=(OCSP_PURPOSE, NO_CHECK)), revoked_at=NOON - DAY),
    revocation_list(
        CA, {SERIAL: NOON - DAY}, reason=x509.ReasonFlags.superseded, extensions=(scoped(full_name=[POINT]),)
    ),
    revocation_list(CA, {5: NOON}, number=7, extensions=((x509.DeltaCRLIndicator(5), True),)),
]


@given(seed=st.sampled_from(_SEEDS), data=st.data())
def test_damaged_evidence_is_left_out_and_never_calls_good(seed, data):
    """Any change of a signed octet breaks the signature; nothing foreign is raised on the way."""
    damaged = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.sampled_from([len(damaged), data.draw(st.integers(0, len(damaged)))]))
    for make in (Response, Crl):
        try:
            make(bytes(damaged[:cut]))
        except Malformed:
            continue
    standing = Standing([ROOT.read], NOON)
    standing.add([CA.der], [bytes(damaged[:cut])], [bytes(damaged[:cut])])
    found = standing.status(LEAF.read, CA.read, NOON)
    whole = Standing([ROOT.read], NOON)
    whole.add([CA.der], [seed], [seed])
    said = whole.status(LEAF.read, CA.read, NOON)
    if found.known:
        assert (found.revoked_at, found.evidence.this_update) == (said.revoked_at, said.evidence.this_update)
