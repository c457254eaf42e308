"""Which account level and authentication level may do what. The two are different axes (Decree 69/2024/ND-CP)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Act(StrEnum):
    """What somebody wants to do."""

    APPLY = "apply-for-certificate"
    SIGN = "sign-contract"
    SIGN_HIGH_VALUE = "sign-high-value"


@dataclass(frozen=True)
class Needed:
    """The least levels, and where they come from."""

    account_level: int
    auth_level: int
    source: str


NEEDED: dict[Act, Needed] = {
    Act.APPLY: Needed(2, 3, "Decree 23/2025/ND-CP Art 34, Decree 69/2024/ND-CP Art 20"),
    Act.SIGN: Needed(2, 2, "policy of this platform on Decree 69/2024/ND-CP Art 20"),
    Act.SIGN_HIGH_VALUE: Needed(2, 3, "policy of this platform on Decree 69/2024/ND-CP Art 20"),
}


def enough(act: Act, account_level: int, auth_level: int) -> bool:
    """Whether these levels suffice. A higher level on one axis never makes up for the other."""
    needed = NEEDED[act]
    return account_level >= needed.account_level and auth_level >= needed.auth_level
