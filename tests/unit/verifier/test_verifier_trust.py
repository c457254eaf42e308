"""Which algorithms may carry a signature (Circular 15/2025/TT-BKHCN App. I; ETSI TS 119 312)."""

from __future__ import annotations

import pytest

from domain.trust import Grade, digest, key, scheme, worst


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
        ("rsa", 2047, None, Grade.FORBIDDEN),
        ("rsa", 1024, None, Grade.FORBIDDEN),
        ("ec", 256, "secp256r1", Grade.ACCEPTED),
        ("ec", 384, "secp384r1", Grade.ACCEPTED),
        ("ec", 224, "secp224r1", Grade.UNLISTED),
        ("ec", 192, "secp192r1", Grade.FORBIDDEN),
        ("ec", 256, "secp256k1", Grade.UNLISTED),
        ("ec", 0, None, Grade.FORBIDDEN),
        ("ed25519", 256, None, Grade.UNLISTED),
        ("dsa", 2048, None, Grade.UNLISTED),
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
