"""Vietnamese identifiers: tax codes, personal numbers, and how certificates carry them.

Errors never repeat the number. Sources: Circular 86/2024/TT-BTC (tax codes), Law 26/2023/QH15 (personal numbers),
ETSI EN 319 412-1 clause 5.1 (semantics identifiers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from events.errors import Refused

_WEIGHTS = (31, 29, 23, 19, 17, 13, 7, 5, 3)
_PROVINCES = frozenset(
    "001 002 004 006 008 010 011 012 014 015 017 019 020 022 024 025 026 027 030 031 033 034 035 036 037 038 040 042 "
    "044 045 046 048 049 051 052 054 056 058 060 062 064 066 067 068 070 072 074 075 077 079 080 082 083 084 086 087 "
    "089 091 092 093 094 095 096".split()
)
UID = "0.9.2342.19200300.100.1.1"
"""OID of the UID attribute, repeated in a subject with a prefix in each value."""


class TaxCodeKind(StrEnum):
    """What a tax code stands for."""

    ORGANISATION = "organisation"
    DEPENDENT_UNIT = "dependent-unit"
    INDIVIDUAL = "individual"


@dataclass(frozen=True)
class TaxCode:
    """A valid tax code in canonical form (digits alone). An individual's is a personal number: never log it."""

    digits: str = field(repr=False)
    kind: TaxCodeKind

    @property
    def shown(self) -> str:
        """As people write it: a dependent unit with its hyphen."""
        if self.kind is TaxCodeKind.DEPENDENT_UNIT:
            return f"{self.digits[:10]}-{self.digits[10:]}"
        return self.digits


@dataclass(frozen=True)
class PersonalNumber:
    """A structurally valid personal number. Birth year and gender code are personal data: never log them."""

    digits: str = field(repr=False)
    birth_year: int = field(repr=False)
    gender_code: int = field(repr=False)
    warnings: tuple[str, ...] = ()


def tax_code(text: str) -> TaxCode:
    """Read a tax code (MST): 10 digits with a check digit, 13 for a dependent unit, 12 = a personal number.

    Raises:
        Refused: `tax-code-invalid`.
    """
    digits = re.sub(r"[\s.\-]", "", text)
    if not digits.isascii() or not digits.isdigit() or len(digits) not in (10, 12, 13):
        raise _tax("a text that is not 10, 12 or 13 digits")
    if len(digits) == 12:
        personal_number(digits, this_year=9999)
        return TaxCode(digits, TaxCodeKind.INDIVIDUAL)
    if digits[2:9] == "0000000":
        raise _tax("a number that is never issued")
    check = 10 - sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits[:9], strict=True)) % 11
    if check == 10:
        raise _tax("a number that is never issued")
    if check != int(digits[9]):
        raise _tax("a wrong check digit")
    if len(digits) == 13:
        if digits[10:] == "000":
            raise _tax("a dependent unit numbered 000")
        return TaxCode(digits, TaxCodeKind.DEPENDENT_UNIT)
    return TaxCode(digits, TaxCodeKind.ORGANISATION)


def personal_number(text: str, *, this_year: int) -> PersonalNumber:
    """Read a 12-digit personal number (CCCD). It has no check digit; an unknown province is only a warning.

    Raises:
        Refused: `personal-number-invalid`; the message never repeats the number.
    """
    digits = text.strip()
    if not re.fullmatch(r"[0-9]{12}", digits):
        raise _personal("a text that is not 12 digits")
    century, gender = divmod(int(digits[3]), 2)
    year = 1900 + 100 * century + int(digits[4:6])
    if year > this_year:
        raise _personal("a year of birth in the future")
    warnings = () if digits[:3] in _PROVINCES else ("province-unknown",)
    return PersonalNumber(digits, year, gender, warnings)


@dataclass(frozen=True)
class SubjectIdentifiers:
    """What a certificate's subject says about who it names, in canonical form."""

    tax_codes: frozenset[str] = field(default=frozenset(), repr=False)
    personal_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)


def from_subject(
    uids: Iterable[str], serial_numbers: Iterable[str], organisations: Iterable[str]
) -> SubjectIdentifiers:
    """Identifiers from the values of UID, serialNumber and organizationIdentifier (parsed by OID, never from a string).

    Prefixes are compared without case; spaces after the colon and hyphens in tax codes are accepted.
    """
    taxes: set[str] = set()
    people: set[str] = set()
    others: list[str] = []
    for value in uids:
        prefix, _, number = value.partition(":")
        match prefix.strip().upper():
            case "MST":
                taxes.add(re.sub(r"[\s.\-]", "", number))
            case "CCCD":
                people.add(number.strip())
            case _:
                others.append(value)
    for value in (*serial_numbers, *organisations):
        match value[:6].upper():
            case "PNOVN-" | "IDCVN-":
                people.add(value[6:].strip())
            case "VATVN-" | "NTRVN-" | "TAXVN-":
                taxes.add(re.sub(r"[\s.\-]", "", value[6:]))
            case _:
                others.append(value)
    return SubjectIdentifiers(frozenset(taxes), frozenset(people), tuple(others))


def _tax(found: str) -> Refused:
    return Refused(
        "tax-code-invalid",
        found=found,
        expected="10 digits with a right check digit, 13 for a dependent unit, or a 12-digit personal number",
        remedy="check the tax code on the registration certificate",
    )


def _personal(found: str) -> Refused:
    return Refused(
        "personal-number-invalid",
        found=found,
        expected="12 digits: province or country, century and gender, year of birth, six more",
        remedy="check the number on the card",
    )
