"""An activation is for one purpose, one digest, one transaction, one holder, five minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.activation import Activation, Purpose, check_activation
from domain.assurance import NEEDED, Act, enough
from events.errors import Refused
from events.values import Digest, IdentityId

NOW = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
ANN, BEN, FIRM = (IdentityId(letter * 52) for letter in "abf")
SHOWN, OTHER = Digest.of(b"shown"), Digest.of(b"other")


def claims(**changes: Any) -> dict[str, Any]:
    return {
        "iss": "https://authority.example",
        "aud": "antin",
        "sub": str(ANN),
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 300,
        "jti": "01890a5d-ac96-774b-bcce-b302099a8057",
        "account_level": 2,
        "auth_level": 3,
        "amr": ["pin", "face"],
        "purpose": "sign",
        "digest": str(SHOWN),
        "txn": "contract/buyer",
    } | changes


def check(found: dict[str, Any], *, now: datetime = NOW, **changes: Any) -> None:
    wanted: dict[str, Any] = {
        "issuer": "https://authority.example",
        "purpose": Purpose.SIGN,
        "digest": SHOWN,
        "txn": "contract/buyer",
        "subject": ANN,
    } | changes
    check_activation(Activation.read(found), now=now, **wanted)


def test_what_was_approved_may_be_done() -> None:
    check(claims())
    check(claims(act_for=str(FIRM)), act_for=FIRM)
    check(claims(future_claim=1))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://elsewhere.example"}, "not-for-us"),
        ({"aud": "another"}, "not-for-us"),
        ({"exp": int(NOW.timestamp()) + 301}, "too-long-lived"),
        ({"exp": int(NOW.timestamp()) - 1}, "too-long-lived"),
        ({"iat": int(NOW.timestamp()) + 60}, "not-yet-valid"),
        ({"iat": int(NOW.timestamp()) - 340, "exp": int(NOW.timestamp()) - 40}, "expired"),
        ({"purpose": "decline"}, "purpose-mismatch"),
        ({"purpose": "confirm-certificate"}, "purpose-mismatch"),
        ({"sub": str(BEN)}, "not-yours"),
        ({"act_for": str(FIRM)}, "not-yours"),
        ({"txn": "contract/seller"}, "transaction-mismatch"),
        ({"digest": str(OTHER)}, "digest-mismatch"),
        ({"account_level": 1}, "level-too-low"),
        ({"auth_level": 1}, "level-too-low"),
        ({"account_level": 3}, "malformed"),
        ({"exp": 10**18}, "malformed"),
        ({"jti": "not a uuid"}, "malformed"),
        ({"sub": "001199012345"}, "malformed"),
    ],
)
def test_each_wrong_claim_has_its_own_code(changes: dict[str, Any], code: str) -> None:
    """EN 419241-1 (SCAL2): bound to signer, data and time; Law 20/2023/QH15 Art 22."""
    with pytest.raises(Refused) as caught:
        check(claims(**changes))
    assert caught.value.code == f"activation-{code}"
    assert not [
        text for text in changes.values() if isinstance(text, str) and len(text) > 20 and text in str(caught.value)
    ]


def test_for_an_organisation_only_when_said() -> None:
    with pytest.raises(Refused, match="activation-not-yours"):
        check(claims(), act_for=FIRM)


def test_confirming_a_certificate_asks_for_more_than_signing() -> None:
    """vietnam.md 3.2: apply at (2, 3), sign at (2, 2)."""
    check(claims(auth_level=2))
    with pytest.raises(Refused, match="activation-level-too-low"):
        check(claims(auth_level=2, purpose="confirm-certificate"), purpose=Purpose.CONFIRM_CERTIFICATE)


@given(st.integers(-600, 600), st.integers(1, 300))
def test_it_lives_from_its_issue_to_its_end_and_no_longer(age: int, life: int) -> None:
    """At most 30 s of skew on either side."""
    issued = NOW - timedelta(seconds=age)
    found = claims(iat=int(issued.timestamp()), exp=int(issued.timestamp()) + life)
    if -30 <= age < life + 30:
        check(found)
    else:
        with pytest.raises(Refused):
            check(found)


@given(st.sampled_from(Act), st.integers(1, 2), st.integers(1, 4))
def test_no_level_makes_up_for_the_other(act: Act, account: int, auth: int) -> None:
    """Decree 69/2024/ND-CP: account level and authentication level are different axes."""
    needed = NEEDED[act]
    assert enough(act, account, auth) == (account >= needed.account_level and auth >= needed.auth_level)
    assert needed.source
