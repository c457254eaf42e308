"""Paths to an anchor: one test for each rule of RFC 5280 clause 6.1, and bounds on the search."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path as File

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(File(__file__).parents[2] / "support"))

from pki import DAY, NOON, Holder, issue, name, resigned

from services.verifier import catalogue
from services.verifier.validation import path
from services.verifier.validation.certificates import Certificate
from services.verifier.validation.path import Path, Paths

ROOT = issue("Gốc", ca=True)
CA = issue("CA", ROOT, ca=True)
OTHER = issue("Gốc", ca=True)
"""Another root of the same name."""


def found(leaf: Holder, *others: Holder, anchors: tuple[Holder, ...] = (ROOT,), at=NOON) -> Path:
    paths = Paths([each.read for each in anchors])
    for each in others:
        paths.add(each.read)
    return paths.find(leaf.read, at)


def policy(*dotted: str) -> tuple[x509.ExtensionType, bool]:
    each = [x509.PolicyInformation(x509.ObjectIdentifier(one), None) for one in dotted]
    return x509.CertificatePolicies(each), False


def constrained(permitted=None, excluded=None) -> Holder:
    extension = x509.NameConstraints(permitted, excluded)
    return issue("CA hẹp", ROOT, ca=True, extensions=((extension, True),))


def alternative(*each: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName(each), False


# --- building --------------------------------------------------------------------------------------------------------


def test_a_path_leads_from_the_leaf_to_the_anchor():
    leaf = issue("A", CA)
    whole = found(leaf, CA)
    assert whole.whole
    assert [each.sha256 for each in whole.certificates] == [each.read.sha256 for each in (leaf, CA, ROOT)]


def test_without_an_anchor_or_an_issuer_there_is_none():
    leaf = issue("A", CA)
    assert found(leaf, CA, anchors=()).fault == "no-path"
    assert found(leaf).fault == "no-path"
    assert found(leaf, CA, ROOT, anchors=(OTHER,)).fault == "no-path"


def test_an_issuers_name_alone_is_nothing():
    """RFC 5280 clause 6.1.3 (a) (1): the signature decides, never the issuer's text."""
    forged = issue("A", OTHER)
    assert forged.issued.issuer == ROOT.issued.subject
    assert found(forged).fault == "no-path"


def test_the_right_one_of_many_issuers_of_one_name_is_found():
    crowd = [issue("CA", ROOT, ca=True) for _ in range(12)]
    assert found(issue("A", CA), *crowd, CA).whole


def test_a_name_that_differs_from_the_issuers_subject_is_no_chain():
    """RFC 5280 clause 6.1.3 (a) (4)."""
    assert found(issue("A", CA, issuer_name=name("CA khác")), CA).fault == "no-path"


def test_an_anchor_is_trusted_as_it_stands():
    assert found(ROOT).certificates == (ROOT.read,) or found(ROOT).whole
    assert found(issue("Mình tôi"), anchors=(ROOT,)).fault == "no-path"


def test_a_detour_is_taken_where_the_short_way_does_not_hold():
    """A cross-certificate that expired does not hide the one that holds."""
    key = ec.generate_private_key(ec.SECP256R1())
    old = issue("CA chéo", ROOT, ca=True, key=key, not_after=NOON - DAY)
    new = issue("CA chéo", ROOT, ca=True, key=key)
    assert found(issue("A", new), old, new).whole
    assert found(issue("A", new), old).fault == "expired"


def test_circles_end():
    one_key, two_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    two = issue("Hai", issue("Một", ca=True, key=one_key), ca=True, key=two_key)
    one = issue("Một", two, ca=True, key=one_key)
    assert found(issue("A", one), one, two).fault == "no-path"


def test_a_crowd_of_namesakes_is_not_tried_for_ever(monkeypatch):
    monkeypatch.setattr(path, "MOST_CANDIDATES", 3)
    crowd = [issue("CA", ROOT, ca=True) for _ in range(5)]
    assert found(issue("A", CA), *crowd, CA).fault == "no-path"


def test_no_more_certificates_are_kept_than_the_limit(monkeypatch):
    monkeypatch.setattr(path, "MOST_CERTIFICATES", 1)
    leaf = issue("A", CA)
    assert found(leaf, OTHER, CA).fault == "no-path"
    assert found(leaf, CA, OTHER).whole


# --- validity, constraints, usages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "fault"), [(-101, "not-yet-valid"), (0, None), (101, "expired")])
def test_every_certificate_must_be_in_force_at_the_moment(days, fault):
    """RFC 5280 clause 6.1.3 (a) (2)."""
    assert found(issue("A", CA), CA, at=NOON + days * DAY).fault == fault


def test_an_authority_that_had_expired_breaks_the_path():
    old = issue("CA cũ", ROOT, ca=True, not_after=NOON - DAY)
    assert found(issue("A", old), old).fault == "expired"


def test_the_anchors_own_life_does_not_matter():
    """RFC 5280 clause 6.1.1 (d): an anchor is a name and a key."""
    old = issue("Gốc cũ", ca=True, not_after=NOON - DAY)
    assert found(issue("A", old), anchors=(old,)).whole


@pytest.mark.parametrize("options", [{"ca": False}, {"constraints": False}])
def test_an_issuer_must_be_an_authority(options):
    """RFC 5280 clause 6.1.4 (k)."""
    end = issue("Người dùng", ROOT, usages=("digital_signature", "key_cert_sign"), **options)
    assert found(issue("A", end), end).fault == "issuer-no-authority"


def test_an_anchor_that_denies_being_an_authority_issues_nothing():
    own = issue("Tự ký", usages=None)
    assert found(own, anchors=(own,)).whole
    assert found(issue("A", own), anchors=(own,)).fault == "issuer-no-authority"


def test_an_old_anchor_without_extensions_is_an_authority():
    old = issue("Gốc v1", constraints=False, usages=None)
    assert found(issue("A", old), anchors=(old,)).whole


def test_an_issuer_must_be_allowed_to_certify():
    """RFC 5280 clause 6.1.4 (n)."""
    mute = issue("CA", ROOT, ca=True, usages=("crl_sign",))
    assert found(issue("A", mute), mute).fault == "issuer-may-not-certify"


@pytest.mark.parametrize(("length", "fault"), [(0, "path-too-long"), (1, None), (None, None)])
def test_path_lengths_are_kept(length, fault):
    """RFC 5280 clause 6.1.4 (l) and (m)."""
    upper = issue("CA trên", ROOT, ca=True, path_length=length)
    lower = issue("CA dưới", upper, ca=True)
    assert found(issue("A", lower), lower, upper).fault == fault


def test_the_anchors_path_length_is_kept():
    short = issue("Gốc ngắn", ca=True, path_length=0)
    lower = issue("CA dưới", short, ca=True)
    assert found(issue("A", lower), lower, anchors=(short,)).fault == "path-too-long"
    assert found(issue("A", short), anchors=(short,)).whole


def test_self_issued_certificates_do_not_count_for_the_length():
    """RFC 5280 clause 6.1.4 (l): a new key of the same authority."""
    upper = issue("CA", ROOT, ca=True, path_length=0)
    rolled = issue("CA", upper, ca=True)
    assert found(issue("A", rolled), rolled, upper).whole


def test_unknown_critical_extensions_break_the_path_and_others_do_not():
    """RFC 5280 clauses 6.1.4 (o) and 6.1.5 (f)."""
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0")
    assert found(issue("A", CA, extensions=((strange, False),)), CA).whole
    assert found(issue("A", CA, extensions=((strange, True),)), CA).fault == "critical-extension-unknown"
    odd = issue("CA lạ", ROOT, ca=True, extensions=((strange, True),))
    assert found(issue("A", odd), odd).fault == "critical-extension-unknown"


def test_a_repeated_extension_breaks_the_path():
    """RFC 5280 clause 4.2."""
    leaf = issue(
        "A", CA, extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.14"), b"\x05\0"), False),)
    )
    paths = Paths([ROOT.read])
    paths.add(CA.read)
    twice = Certificate(resigned(leaf, CA, b"\x55\x1d\x0e", b"\x55\x1d\x0f"))
    assert paths.find(twice, NOON).fault == "extension-repeated"


def test_an_unreadable_extension_on_the_path_breaks_it():
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), b"\x05\0")
    broken = issue("CA hỏng", ROOT, ca=True, extensions=((odd, True),))
    assert found(issue("A", broken), broken).fault == "path-unreadable"


# --- name constraints: RFC 5280 clauses 4.2.1.10 and 6.1.3 (b), (c) ---------------------------------------------------

DIRECTORY = x509.DirectoryName(x509.Name([*name("x").rdns[:1]]))
URI = x509.UniformResourceIdentifier


@pytest.mark.parametrize(
    ("tree", "inside", "outside"),
    [
        (x509.DNSName("vi-du.vn"), x509.DNSName("ky.vi-du.vn"), x509.DNSName("khac-vi-du.vn")),
        (x509.DNSName("vi-du.vn"), x509.DNSName("VI-DU.vn"), x509.DNSName("vi-du.vn.xau.test")),
        (x509.RFC822Name("vi-du.vn"), x509.RFC822Name("an@vi-du.vn"), x509.RFC822Name("an@ky.vi-du.vn")),
        (x509.RFC822Name(".vi-du.vn"), x509.RFC822Name("an@ky.vi-du.vn"), x509.RFC822Name("an@vi-du.vn")),
        (x509.RFC822Name("an@vi-du.vn"), x509.RFC822Name("an@VI-DU.vn"), x509.RFC822Name("binh@vi-du.vn")),
        (URI("vi-du.vn"), URI("https://vi-du.vn/a"), URI("https://ky.vi-du.vn/a")),
        (URI(".vi-du.vn"), URI("https://ky.vi-du.vn/a"), URI("https://vi-du.vn.xau.test/a")),
        (
            x509.IPAddress(ipaddress.ip_network("10.1.0.0/16")),
            x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
            x509.IPAddress(ipaddress.ip_address("10.2.0.1")),
        ),
        (
            x509.IPAddress(ipaddress.ip_network("2001:db8::/32")),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
        ),
    ],
)
def test_alternative_names_stay_within_what_is_permitted(tree, inside, outside):
    narrow, barred = constrained(permitted=[tree]), constrained(excluded=[tree])
    assert found(issue("A", narrow, extensions=(alternative(inside),)), narrow).whole
    assert found(issue("A", narrow, extensions=(alternative(outside),)), narrow).fault == "name-not-permitted"
    assert found(issue("A", barred, extensions=(alternative(outside),)), barred).whole
    assert found(issue("A", barred, extensions=(alternative(inside),)), barred).fault == "name-not-permitted"


def test_subjects_stay_within_what_is_permitted():
    narrow = constrained(permitted=[DIRECTORY])
    abroad = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "LA")])
    assert found(issue("A", narrow), narrow).whole
    assert found(issue(abroad, narrow), narrow).fault == "name-not-permitted"
    hidden = alternative(x509.DirectoryName(abroad))
    assert found(issue("A", narrow, extensions=(hidden,)), narrow).fault == "name-not-permitted"


def test_a_subjects_mail_address_is_constrained_where_no_alternative_name_is():
    narrow = constrained(permitted=[x509.RFC822Name("vi-du.vn")])
    assert found(issue(name("A", EMAIL_ADDRESS="a@vi-du.vn"), narrow), narrow).whole
    assert found(issue(name("A", EMAIL_ADDRESS="a@xau.test"), narrow), narrow).fault == "name-not-permitted"


def test_constraints_reach_below_the_next_authority_and_spare_the_self_issued():
    """RFC 5280 clause 6.1.3 (b): self-issued certificates are spared unless they are the last."""
    narrow = constrained(permitted=[x509.DirectoryName(name("Chỉ đây"))])
    rolled = issue("CA hẹp", narrow, ca=True)
    assert found(issue("Chỉ đây", rolled), rolled, narrow).whole
    assert found(issue("A", rolled), rolled, narrow).fault == "name-not-permitted"


def test_a_constrained_form_that_is_not_understood_is_not_permitted():
    """RFC 5280 clause 4.2.1.10."""
    tree = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    narrow = constrained(permitted=[tree])
    assert found(issue("A", narrow), narrow).whole
    assert found(issue("A", narrow, extensions=(alternative(tree),)), narrow).fault == "name-not-permitted"


def test_the_anchors_name_constraints_are_kept():
    extension = x509.NameConstraints([x509.DNSName("vi-du.vn")], None)
    root = issue("Gốc hẹp", ca=True, extensions=((extension, True),))
    leaf = issue("A", root, extensions=(alternative(x509.DNSName("xau.test")),))
    assert found(leaf, anchors=(root,)).fault == "name-not-permitted"


# --- policies: RFC 5280 clauses 6.1.3 (d) to (f), 6.1.4 (a), (b), (h) to (j), 6.1.5 -----------------------------------


def demanding(require=0, inhibit=None, *policies: str, others=()) -> Holder:
    extensions = [(x509.PolicyConstraints(require, inhibit), True), *others]
    if policies:
        extensions.append(policy(*policies))
    return issue("CA nghiêm", ROOT, ca=True, extensions=tuple(extensions))


def test_a_path_that_demands_a_policy_needs_one_all_along():
    strict = demanding(0, None, "1.2.3")
    assert found(issue("A", strict, extensions=(policy("1.2.3"),)), strict).whole
    assert found(issue("A", strict), strict).fault == "policy-missing"
    assert found(issue("A", strict, extensions=(policy("1.2.4"),)), strict).fault == "policy-missing"


def test_nobody_demands_a_policy_by_default():
    assert found(issue("A", CA, extensions=(policy("1.2.3"),)), CA).whole


def test_any_policy_stands_for_all_until_it_is_inhibited():
    strict = demanding(0, None, "2.5.29.32.0")
    assert found(issue("A", strict, extensions=(policy("1.2.3"),)), strict).whole
    wild = demanding(0, None, "1.2.3")
    assert found(issue("A", wild, extensions=(policy("2.5.29.32.0"),)), wild).whole
    inhibited = demanding(0, None, "1.2.3", others=((x509.InhibitAnyPolicy(0), True),))
    assert found(issue("A", inhibited, extensions=(policy("2.5.29.32.0"),)), inhibited).fault == "policy-missing"


def test_mapped_policies_count_as_what_they_are_mapped_to_unless_inhibited():
    mapping = b"\x30\x0a\x30\x08\x06\x02\x2a\x03\x06\x02\x2a\x04"
    mapped = (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), mapping), True)
    strict = demanding(0, None, "1.2.3", others=(mapped,))
    assert found(issue("A", strict, extensions=(policy("1.2.4"),)), strict).whole
    assert found(issue("A", strict, extensions=(policy("1.2.3"),)), strict).fault == "policy-missing"
    above = demanding(0, 0, "1.2.3")
    lower = issue("CA dưới", above, ca=True, extensions=(mapped, policy("1.2.3")))
    assert found(issue("A", lower, extensions=(policy("1.2.4"),)), lower, above).fault == "policy-missing"


def test_a_demand_may_begin_further_down():
    later = demanding(1)
    lower = issue("CA dưới", later, ca=True)
    assert found(issue("A", later), later).fault == "policy-missing"
    assert found(issue("A", lower), lower, later).fault == "policy-missing"
    far = demanding(3)
    lower = issue("CA dưới", far, ca=True)
    assert found(issue("A", lower), lower, far).whole


def test_every_fault_has_its_sentence_in_both_languages():
    faults = {
        "no-path",
        "expired",
        "not-yet-valid",
        "path-unreadable",
        "extension-repeated",
        "critical-extension-unknown",
        "name-not-permitted",
        "policy-missing",
        "issuer-no-authority",
        "issuer-may-not-certify",
        "path-too-long",
    }
    assert faults <= catalogue.REASONS.keys()
