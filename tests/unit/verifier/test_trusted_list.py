"""Trusted lists (ETSI TS 119 612): believed for the operator's signature alone; services for their time and purpose."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from lxml import etree

from events.errors import Refused
from services.verifier.adapters.trust_sources import checked
from services.verifier.adapters.trusted_list import read_trusted_list
from services.verifier.trust_store import Anchor, Purpose, Source, Span
from tests.support.odd_certificates import KEYED, WHOLLY
from tests.support.trusted_lists import CA_QC, GRANTED, NOW, QTST, TSL, WITHDRAWN, Scheme, Service, certificate

YEARS = timedelta(days=365)


@pytest.fixture(scope="module")
def authority() -> bytes:
    return certificate("Authority A")[0]


@pytest.fixture
def scheme(authority) -> Scheme:
    return Scheme([Service(authority, name="Authority A")])


def refusal(body: bytes, scheme: Scheme) -> str:
    with pytest.raises(Refused) as caught:
        read_trusted_list(body, [scheme.operator], NOW)
    return caught.value.code


def test_services_become_anchors_for_their_purpose(authority):
    stamps = certificate("Stamps")[0]
    other = certificate("Registered mail")[0]
    scheme = Scheme(
        [
            Service(authority, CA_QC, "Authority A"),
            Service(stamps, QTST, "Stamps"),
            Service(other, "http://uri.etsi.org/TrstSvc/Svctype/EDS/Q", "Registered mail"),
        ]
    )
    found = read_trusted_list(scheme.signed(), [certificate("Another")[0], scheme.operator], NOW)
    assert [(one.service, one.purposes) for one in found.anchors] == [
        ("Authority A", (Purpose.SIGNATURES,)),
        ("Stamps", (Purpose.TIMESTAMPS,)),
    ]
    assert found.anchors[0].der == base64.b64encode(authority).decode()
    assert (found.sequence, found.territory, found.unreadable) == (7, "XX", 0)
    assert found.next_update == NOW + timedelta(days=90)


def test_the_status_history_says_when_a_service_was_granted(authority):
    """TS 119 612 clause 5.5.5 and 5.6: each status holds from its starting time until the next."""
    service = Service(
        authority,
        statuses=(
            (WITHDRAWN, NOW - YEARS),
            (GRANTED, NOW - 3 * YEARS),
            ("http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/undersupervision", NOW - 5 * YEARS),
            (WITHDRAWN, NOW - 6 * YEARS),
        ),
    )
    (one,) = read_trusted_list((made := Scheme([service])).signed(), [made.operator], NOW).anchors
    assert one.granted == (Span(start=NOW - 5 * YEARS, end=NOW - YEARS),)
    anchor = Anchor(authority, one.purposes, one.service, one.granted)
    assert anchor.refusal(Purpose.SIGNATURES, NOW - 2 * YEARS) is None
    assert anchor.refusal(Purpose.SIGNATURES, NOW) == "service-not-granted-then"
    assert anchor.refusal(Purpose.SIGNATURES, NOW - YEARS) == "service-not-granted-then"
    assert anchor.refusal(Purpose.SIGNATURES, NOW - 7 * YEARS) == "service-not-granted-then"
    assert anchor.refusal(Purpose.TIMESTAMPS, NOW - 2 * YEARS) == "anchor-not-for-timestamps"


def test_a_tampered_list_is_refused(scheme):
    """TS 119 612 clause 5.7: the list is signed by the scheme operator."""
    body = scheme.signed()
    assert refusal(body.replace(b"Authority A", b"Authority B"), scheme) == "trusted-list-not-signed"


def test_a_list_signed_by_somebody_else_is_refused(scheme):
    other, key = certificate("Scheme operator")
    assert refusal(scheme.signed(key=key, operator=other), scheme) == "trusted-list-not-signed"


def test_a_list_that_names_the_operator_but_is_signed_with_another_key_is_refused(scheme):
    _, key = certificate("Scheme operator")
    assert refusal(scheme.signed(key=key), scheme) == "trusted-list-not-signed"


def test_an_operator_whose_certificate_has_expired_signs_nothing(scheme):
    scheme.operator, scheme.key = certificate("Scheme operator", days=30)
    scheme.next_update = NOW + 9 * YEARS
    read_trusted_list(scheme.signed(), [scheme.operator], NOW)
    with pytest.raises(Refused, match="is in force"):
        read_trusted_list(scheme.signed(), [scheme.operator], NOW + YEARS)


def test_an_unsigned_list_is_refused(scheme):
    assert refusal(etree.tostring(scheme.plain(), encoding="UTF-8"), scheme) == "trusted-list-not-signed"


def test_a_signed_list_wrapped_in_another_is_refused(scheme):
    """Signature wrapping: what is read must be what is signed."""
    inner = etree.fromstring(scheme.signed())
    outer = Scheme([Service(certificate("Forged")[0], name="Forged")]).plain()
    outer.append(inner)
    assert refusal(etree.tostring(outer, encoding="UTF-8"), scheme) == "trusted-list-not-signed"
    moved = etree.fromstring(scheme.signed())
    outer = Scheme([Service(certificate("Forged")[0], name="Forged")]).plain()
    outer.append(moved.find("{http://www.w3.org/2000/09/xmldsig#}Signature"))
    assert refusal(etree.tostring(outer, encoding="UTF-8"), scheme) == "trusted-list-not-signed"


@pytest.mark.parametrize(
    "head",
    [
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>',
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
    ],
    ids=["external entity", "billion laughs", "external DTD"],
)
def test_no_document_type_declaration_is_even_parsed(scheme, head):
    body = scheme.signed()
    cut = body.index(b"?>") + 2
    assert refusal(body[:cut] + head + body[cut:], scheme) == "trusted-list-not-plain"


def test_another_encoding_cannot_hide_a_declaration(scheme):
    body = etree.tostring(etree.fromstring(scheme.signed()), xml_declaration=True, encoding="UTF-16")
    assert refusal(body, scheme) == "trusted-list-not-plain"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "trusted-list-not-xml"),
        (b"<a", "trusted-list-not-xml"),
        (b"<a/>", "trusted-list-not-one"),
        (b"<a>" * 5000, "trusted-list-not-xml"),
        (b" " * ((32 << 20) + 1), "trusted-list-too-large"),
        (f'<TrustServiceStatusList xmlns="{TSL}"/>'.encode(), "trusted-list-not-signed"),
    ],
)
def test_what_is_no_list_is_refused(scheme, body, code):
    assert refusal(body, scheme) == code


def test_a_list_past_its_next_update_is_refused(scheme):
    """TS 119 612 clause 5.3.15."""
    scheme.next_update = NOW - timedelta(seconds=1)
    assert refusal(scheme.signed(), scheme) == "trusted-list-out-of-date"
    scheme.next_update = None
    assert refusal(scheme.signed(), scheme) == "trusted-list-closed"


def test_an_unknown_version_is_refused(scheme):
    scheme.version = "4"
    assert refusal(scheme.signed(), scheme) == "trusted-list-unknown-version"


def test_one_unreadable_certificate_does_not_hide_the_others(authority):
    odd = [change(authority) for change in (WHOLLY | KEYED).values()]
    scheme = Scheme([Service(b"junk"), *(Service(one) for one in odd), Service(authority)])
    found = read_trusted_list(scheme.signed(), [scheme.operator], NOW)
    assert (len(found.anchors), found.unreadable) == (1, 1 + len(odd))


def test_an_older_list_than_the_one_known_is_refused(scheme):
    """A replayed list could bring a withdrawn service back (TS 119 612 clause 5.3.2: numbers only grow)."""
    source = Source(url="https://list.example/tl.xml", operators=(base64.b64encode(scheme.operator).decode(),))
    known = checked(source, scheme.signed(), NOW)
    assert (known.sequence, known.at) == (7, NOW)
    scheme.sequence = 6
    with pytest.raises(Refused) as caught:
        checked(source, scheme.signed(), NOW, known=known)
    assert caught.value.code == "trusted-list-older"
