"""Which algorithms may carry a signature (Circular 15/2025/TT-BKHCN App. I; ETSI TS 119 312)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.trust import APPENDIX_I, SUITES, Acceptance, Grade, digest, key, pss, scheme, worst


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        ("sha256", Grade.ACCEPTED),
        ("sha512", Grade.ACCEPTED),
        ("sha512_256", Grade.ACCEPTED),
        ("sha3_256", Grade.ACCEPTED),
        ("sha224", Grade.UNLISTED),
        ("ripemd160", Grade.UNLISTED),
        ("sha1", Grade.FORBIDDEN),
        ("md5", Grade.FORBIDDEN),
    ],
)
def test_digests(name, grade):
    assert digest(name).grade is grade
    assert digest(name).clause


@pytest.mark.parametrize(
    ("kind", "bits", "curve", "grade"),
    [
        ("rsa", 2048, None, Grade.ACCEPTED),
        ("rsa", 3072, None, Grade.ACCEPTED),
        ("rsa", 2047, None, Grade.UNLISTED),
        ("rsa", 1899, None, Grade.FORBIDDEN),
        ("rsa", 1024, None, Grade.FORBIDDEN),
        ("ec", 256, "secp256r1", Grade.ACCEPTED),
        ("ec", 384, "secp384r1", Grade.ACCEPTED),
        ("ec", 224, "secp224r1", Grade.UNLISTED),
        ("ec", 192, "secp192r1", Grade.FORBIDDEN),
        ("ec", 256, "secp256k1", Grade.UNLISTED),
        ("ec", 0, None, Grade.FORBIDDEN),
        ("ed25519", 256, None, Grade.UNLISTED),
        ("ec", 256, "brainpoolP256r1", Grade.ACCEPTED),
        ("ec", 512, "brainpoolP512r1", Grade.ACCEPTED),
        ("ec", 192, "brainpoolP192r1", Grade.FORBIDDEN),
        ("ec", 256, "brainpoolP256t1", Grade.UNLISTED),
        ("ed448", 448, None, Grade.UNLISTED),
        ("dsa", 2048, None, Grade.UNLISTED),
        ("dsa", 1024, None, Grade.FORBIDDEN),
    ],
)
def test_keys(kind, bits, curve, grade):
    assert key(kind, bits, curve).grade is grade


def test_pkcs1_is_accepted_with_a_notice():
    """App. I mandates RSASSA-PSS, while every real Vietnamese certificate is signed with PKCS#1 v1.5."""
    assert scheme("rsassa_pkcs1v15").grade is Grade.NOTICE
    assert scheme("rsassa_pss").grade is Grade.ACCEPTED
    assert scheme("ecdsa").grade is Grade.ACCEPTED
    assert scheme("ed25519").grade is Grade.UNLISTED


def test_the_worst_decides():
    assert worst([]) is None
    assert worst([digest("sha256"), scheme("rsassa_pkcs1v15"), key("rsa", 1024)]).grade is Grade.FORBIDDEN


_ORDER = list(Grade)
_names = st.sampled_from(["sha1", "sha224", "sha256", "sha512", "sha3_256", "shake256", "md5", "whirlpool", "strange"])
_acceptances = st.one_of(
    st.builds(digest, _names),
    st.builds(key, st.just("rsa"), st.integers(512, 8192)),
    st.builds(
        key, st.just("ec"), st.integers(0, 600), st.sampled_from([None, "secp256r1", "brainpoolP384r1", "secp192r1"])
    ),
    st.builds(scheme, st.sampled_from(["rsassa_pss", "rsassa_pkcs1v15", "ecdsa", "ed25519"])),
)
_moments = st.integers(0, 24000).map(lambda days: datetime(1995, 1, 1, tzinfo=UTC) + timedelta(days=days))


@given(bits=st.integers(1, 16384))
def test_more_bits_are_never_worse(bits):
    """App. I: RSA of 2048 bits or more."""
    now, more = key("rsa", bits), key("rsa", bits + 1)
    assert _ORDER.index(more.grade) <= _ORDER.index(now.grade)
    assert (now.grade is Grade.ACCEPTED) == (bits >= 2048)


@given(one=_acceptances, moment=_moments)
def test_no_date_makes_green_of_what_no_list_allows(one, moment):
    """EN 319 102-1 clause 5.2.8 judges at the proven time; App. I still decides what may be green."""
    then = one.at(moment)
    fit = (Grade.ACCEPTED, Grade.NOTICE)
    assert (then.grade in fit) == (one.grade in fit)
    assert then.algorithm == one.algorithm
    assert then.clause
    assert then.at(moment) == then


@given(one=_acceptances, moment=_moments, days=st.integers(1, 20000))
def test_an_algorithm_never_gets_better_with_time(one, moment, days):
    later = one.at(moment + timedelta(days=days))
    assert _ORDER.index(later.grade) >= _ORDER.index(one.at(moment).grade)


@given(found=st.lists(_acceptances, min_size=1))
def test_the_worst_is_worst_in_any_order(found):
    grade = worst(found).grade
    assert worst(reversed(found)).grade is grade
    assert all(_ORDER.index(one.grade) <= _ORDER.index(grade) for one in found)


def test_an_end_of_ts_119_312_is_a_notice_where_app_i_allows():
    """TS 119 312 V1.5.1 ends RSA below 3000 bits and PKCS#1 v1.5 with 2028; App. I sets no end."""
    short, long = key("rsa", 2048), key("rsa", 3072)
    assert short.ends == date(2029, 1, 1)
    before, after = datetime(2028, 12, 31, 23, 59, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
    assert short.at(before) == short
    assert short.at(after) == Acceptance(Grade.NOTICE, "RSA-2048", SUITES, date(2029, 1, 1), "past-recommended-end")
    assert long.at(datetime(2050, 1, 1, tzinfo=UTC)).grade is Grade.ACCEPTED
    assert scheme("rsassa_pkcs1v15").at(after).reason == "past-recommended-end"


def test_sha1_proven_before_its_end_is_a_doubt_and_not_a_failure():
    """EN 319 102-1 clause 5.2.8: the algorithm must have been reliable at the proven time."""
    assert digest("sha1").at(datetime(2010, 1, 1, tzinfo=UTC)).grade is Grade.UNLISTED
    assert digest("sha1").at(datetime(2012, 8, 1, tzinfo=UTC)).grade is Grade.FORBIDDEN
    assert digest("md2").at(datetime(1999, 1, 1, tzinfo=UTC)).grade is Grade.FORBIDDEN


@pytest.mark.parametrize(
    ("mask", "salt", "trailer", "grade", "reason"),
    [
        ("sha256", 32, 1, Grade.ACCEPTED, None),
        ("sha256", 20, 1, Grade.ACCEPTED, None),
        ("sha256", 0, 1, Grade.NOTICE, "salt-length-unusual"),
        ("sha256", 222, 1, Grade.NOTICE, "salt-length-unusual"),
        ("sha512", 32, 1, Grade.NOTICE, "mask-digest-differs"),
        ("sha1", 32, 1, Grade.NOTICE, "mask-digest-differs"),
        ("strange", 32, 1, Grade.UNLISTED, None),
        ("sha256", 32, 2, Grade.UNLISTED, None),
        ("sha256", -1, 1, Grade.UNLISTED, None),
    ],
)
def test_pss_parameters(mask, salt, trailer, grade, reason):
    """RFC 4055 clause 3.1: the trailer field is 1; FIPS 186-5 clause 5.4: a salt of at most the digest's length."""
    found = pss("sha256", mask, salt, 32, trailer)
    assert (found.grade, found.reason) == (grade, reason)


def test_pss_does_not_save_a_broken_digest():
    assert pss("sha1", "sha1", 20, 20).grade is Grade.UNLISTED
    assert digest("sha1").grade is Grade.FORBIDDEN


@pytest.mark.parametrize(
    ("exponent", "grade"), [(65537, Grade.ACCEPTED), (3, Grade.NOTICE), (1, Grade.FORBIDDEN), (65538, Grade.FORBIDDEN)]
)
def test_rsa_exponents(exponent, grade):
    """RFC 8017 clause 3.1: an odd exponent of at least 3."""
    assert key("rsa", 3072, exponent=exponent).grade is grade


@given(_acceptances)
def test_every_answer_cites(one):
    assert one.clause.startswith((APPENDIX_I, "ETSI", "NIST", "RFC", "FIPS"))
