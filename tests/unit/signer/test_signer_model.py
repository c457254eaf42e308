"""Permits, the pre-sign check and the places of stamps, without any library of the outside."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.activation import Purpose
from events.contract import Placement
from events.errors import Refused, Unavailable
from events.values import BaselineLevel, ContractId, CredentialId, Digest, IdentityId, Slot
from services.signer.model import (
    MESSAGE_DIGEST_ATTRIBUTE,
    Order,
    Passed,
    Permit,
    Prepared,
    PreSignCheck,
    Redemption,
    Role,
    SigningAlgorithm,
    Standing,
    StatusRow,
    admit,
    cells,
    continues,
    default_place,
    within,
)

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
PERSON, FIRM, OTHER = (IdentityId(letter * 52) for letter in "abc")
CONTRACT = ContractId(str(uuid.UUID(int=1)))
BASE = b"%PDF-1.7 the agreed text"
SHOWN = Digest.of(BASE)


def permit(**changes):
    return replace(
        Permit(
            jti="0123456789",
            purpose=Purpose.SIGN,
            subject=PERSON,
            act_for=None,
            contract=CONTRACT,
            slot=Slot("buyer"),
            shown=SHOWN,
            issued_at=NOW,
            expires_at=NOW + timedelta(seconds=300),
            account_level=2,
            auth_level=3,
        ),
        **changes,
    )


def an_order(**changes):
    return replace(
        Order(
            contract=CONTRACT,
            slot=Slot("buyer"),
            identity=PERSON,
            credential=CredentialId(str(uuid.UUID(int=2))),
            base=SHOWN,
            shown=SHOWN,
            level=BaselineLevel.LTA,
        ),
        **changes,
    )


def redemption():
    return Redemption(
        jti="0123456789",
        contract=CONTRACT,
        slot=Slot("buyer"),
        credential=CredentialId(str(uuid.UUID(int=2))),
        algorithm=SigningAlgorithm.P256,
        shown=SHOWN,
        base=SHOWN,
        base_size=len(BASE),
        redeemed_at=NOW,
    )


def prepared(revision: bytes, gap: tuple[int, int]) -> Prepared:
    digest = hashlib.sha256(revision[: gap[0]] + revision[gap[1] :]).digest()
    base, added = Passed(revision[: len(BASE)]), revision[len(BASE) :]
    return Prepared(base, added, gap, b"set of attributes " + MESSAGE_DIGEST_ATTRIBUTE + digest)


def test_a_fitting_activation_is_admitted():
    admit(permit(), an_order(), said_at=NOW + timedelta(seconds=10), representative=None)


def test_a_representative_activates_the_key_of_the_organisation():
    admit(permit(act_for=FIRM), an_order(identity=FIRM), said_at=NOW, representative=PERSON)


@pytest.mark.parametrize(
    ("changes", "order_changes", "representative", "late", "code"),
    [
        ({"purpose": Purpose.DECLINE}, {}, None, 0, "activation-purpose"),
        ({"subject": OTHER}, {}, None, 0, "activation-holder"),
        ({}, {"identity": FIRM}, PERSON, 0, "activation-holder"),
        ({"act_for": FIRM}, {"identity": FIRM}, OTHER, 0, "activation-representative"),
        ({"act_for": FIRM}, {"identity": FIRM}, None, 0, "activation-representative"),
        ({"subject": FIRM}, {"identity": FIRM}, PERSON, 0, "activation-representative"),
        ({"contract": ContractId(str(uuid.UUID(int=9)))}, {}, None, 0, "activation-transaction"),
        ({"slot": Slot("seller")}, {}, None, 0, "activation-transaction"),
        ({"shown": Digest.of(b"another text")}, {}, None, 0, "activation-digest"),
        ({"account_level": 1}, {}, None, 0, "activation-level"),
        ({"auth_level": 1}, {}, None, 0, "activation-level"),
        ({}, {}, None, 400, "activation-expired"),
        ({}, {}, None, -100, "activation-expired"),
    ],
)
def test_what_was_not_approved_is_not_signed(changes, order_changes, representative, late, code):
    """Law 20/2023/QH15 Art 22: bound to the content approved, under the signer's sole control at signing."""
    with pytest.raises(Refused) as found:
        admit(
            permit(**changes),
            an_order(**order_changes),
            said_at=NOW + timedelta(seconds=late),
            representative=representative,
        )
    assert found.value.code == code


def test_a_permit_carries_the_digest_of_the_attributes_and_of_the_document():
    revision = BASE + b" field <0000> trailer"
    gap = (revision.index(b"<"), revision.index(b">") + 1)
    ready = prepared(revision, gap)
    found = redemption().permit(ready)
    assert found.attributes == Digest.of(ready.attributes)
    assert found.document.raw == ready.document_digest()
    assert found.base == SHOWN


@pytest.mark.parametrize(
    ("revision", "gap"),
    [
        (b"%PDF-1.7 another text!!! field <0000> trailer", (31, 37)),
        (BASE, (5, 9)),
        (BASE[:-1], (5, 9)),
        (BASE + b" <0000>", (24, 90)),
        (BASE + b" <0000>", (5, 9)),
    ],
)
def test_a_permit_cannot_be_turned_to_another_document(revision, gap):
    """House habit 3: what was authorised is what is signed."""
    with pytest.raises(Refused, match="not-what-was-authorised"):
        redemption().permit(prepared(revision, gap))


def test_attributes_over_other_bytes_give_no_permit():
    revision = BASE + b" field <0000> trailer"
    attributes = b"attributes " + MESSAGE_DIGEST_ATTRIBUTE + bytes(32)
    ready = Prepared(Passed(BASE), revision[len(BASE) :], (31, 37), attributes)
    with pytest.raises(Refused, match="not-what-was-authorised"):
        redemption().permit(ready)


def test_a_base_must_begin_with_what_was_shown():
    continues(BASE + b"more", BASE)
    continues(BASE, BASE)
    with pytest.raises(Refused, match="not-what-was-shown"):
        continues(BASE.replace(b"agreed", b"edited") + b"more", BASE)


def row(standing: Standing, role: Role = Role.SIGNER) -> StatusRow:
    return StatusRow(role, SHOWN, standing, "ocsp", NOW, why_unknown="silence")


def check(*rows: StatusRow) -> PreSignCheck:
    return PreSignCheck(NOW, (), rows)


def test_only_a_wholly_good_check_passes():
    """Decree 23/2025/ND-CP Art 15: the signer checks its own and its issuer's certificate before signing."""
    check(row(Standing.GOOD), row(Standing.GOOD, Role.ISSUER)).decide()


@pytest.mark.parametrize(
    ("rows", "kind", "code"),
    [
        ((row(Standing.REVOKED),), Refused, "certificate-revoked"),
        ((row(Standing.SUSPENDED),), Refused, "certificate-suspended"),
        ((row(Standing.GOOD), row(Standing.REVOKED, Role.ISSUER)), Refused, "issuer-revoked"),
        ((row(Standing.UNKNOWN),), Unavailable, "status-unknown"),
        ((row(Standing.GOOD), row(Standing.UNKNOWN, Role.ISSUER)), Unavailable, "status-unknown"),
        ((row(Standing.UNKNOWN, Role.ISSUER), row(Standing.REVOKED)), Refused, "certificate-revoked"),
        ((row(Standing.GOOD, Role.ISSUER),), Unavailable, "status-unknown"),
        ((), Unavailable, "status-unknown"),
    ],
)
def test_a_check_that_is_not_good_fails_closed(rows, kind, code):
    with pytest.raises(kind) as found:
        check(*rows).decide()
    assert found.value.code == code


SIDES = st.floats(min_value=30, max_value=5000)


@given(SIDES, SIDES)
def test_cells_stay_on_the_page_and_apart(width, height):
    places = cells(width, height)
    assert places
    for box in places:
        assert box.width > 0
        assert box.height > 0
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= width + 0.01
        assert box.y + box.height <= height + 0.01
    for one in places[:20]:
        for other in places[:20]:
            apart = (
                one is other
                or one.x + one.width <= other.x + 0.01
                or other.x + other.width <= one.x + 0.01
                or one.y + one.height <= other.y + 0.01
                or other.y + other.height <= one.y + 0.01
            )
            assert apart


def test_stamps_begin_on_the_last_page_and_end_when_all_pages_are_full():
    pages = [(595.0, 842.0), (200.0, 60.0)]
    found = [default_place(index, reversed(pages)) for index in range(100)]
    assert found[0] is not None
    assert found[0][0] == 0
    assert {place[0] for place in found if place} == {0, 1}
    assert len({place for place in found if place}) == sum(1 for place in found if place)
    assert default_place(10_000, reversed(pages)) is None


def test_a_stamp_passes_over_what_stands_there_already():
    pages = [(595.0, 842.0)]
    places = cells(*pages[0])
    field = [places[0], places[2]]
    assert default_place(0, pages, lambda _: field) == (0, places[1])
    assert default_place(1, pages, lambda _: field) == (0, places[1])
    assert default_place(1, pages, lambda _: [*field, places[1]]) == (0, places[3])
    assert default_place(0, pages, lambda _: places) is None


def test_a_placement_must_be_on_the_page_and_readable():
    within(Placement(page=1, x=0, y=0, width=595, height=100), 595, 842)
    with pytest.raises(Refused, match="placement-outside"):
        within(Placement(page=1, x=500, y=0, width=100, height=50), 595, 842)
    with pytest.raises(Refused, match="placement-small"):
        within(Placement(page=1, x=0, y=0, width=5, height=5), 595, 842)
