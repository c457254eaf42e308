"""What the templates ask for, field by field, with bounds; what users type is data and is never interpreted."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from domain import identifiers
from events.errors import Refused
from events.values import BaselineLevel, Slot

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def _plain(text: str) -> str:
    """NFC, single blanks, nothing invisible: letters that hide or turn the text have no place in a contract."""
    if _CONTROL.search(text):
        raise ValueError("expected plain text without control or direction characters")
    tidy = " ".join(unicodedata.normalize("NFC", text).split())
    if not tidy:
        raise ValueError("expected a text that is not blank")
    return tidy


PersonName = Annotated[str, Field(min_length=1, max_length=100, description="Full name"), AfterValidator(_plain)]
OrganisationName = Annotated[
    str, Field(min_length=1, max_length=200, description="Full name of the organisation"), AfterValidator(_plain)
]
Position = Annotated[
    str, Field(min_length=1, max_length=80, description="Position of the representative"), AfterValidator(_plain)
]
Purpose = Annotated[
    str, Field(min_length=1, max_length=120, description="What the electricity is used for"), AfterValidator(_plain)
]
Address = Annotated[str, Field(min_length=1, max_length=200, description="Address"), AfterValidator(_plain)]
Reference = Annotated[
    str,
    Field(min_length=1, max_length=60, pattern=r"^[\w./ -]+$", description="Letters, digits and . / - _"),
    AfterValidator(_plain),
]


def _tax_code(text: str) -> str:
    try:
        return identifiers.tax_code(text).shown
    except Refused as fault:
        raise ValueError(f"{fault.code}: found {fault.found}; expected {fault.expected}") from None


def _personal_number(text: str) -> str:
    try:
        return identifiers.personal_number(text, this_year=9999).digits
    except Refused as fault:
        raise ValueError(f"{fault.code}: found {fault.found}; expected {fault.expected}") from None


TaxCode = Annotated[str, Field(max_length=20, description="Tax code (MST)"), AfterValidator(_tax_code)]
PersonalNumber = Annotated[
    str, Field(max_length=20, description="Personal identification number, 12 digits"), AfterValidator(_personal_number)
]
Day = Annotated[date, Field(description="Calendar day, Vietnam time")]
Amount = Annotated[int, Field(ge=0, le=10**13, description="Vietnamese dong")]


class Form(BaseModel):
    """Base of what people fill in: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CitizenParty(Form):
    """A citizen as a contract names one. The number is printed if given and kept nowhere else."""

    kind: Literal["citizen"]
    name: PersonName
    number: PersonalNumber | None = None
    address: Address


class OrganisationParty(Form):
    """An organisation as a contract names one, acting through its representative."""

    kind: Literal["organisation"]
    name: OrganisationName
    number: TaxCode
    address: Address
    representative: PersonName
    position: Position


NamedParty = Annotated[CitizenParty | OrganisationParty, Field(discriminator="kind")]


class OldContract(Form):
    """The power purchase agreement whose buyer changes."""

    number: Reference
    signed_on: Day
    customer_code: Reference
    place: Address
    purpose: Purpose
    voltage: Literal["220 V", "380 V", "22 kV", "35 kV", "110 kV"]


class MeterReading(Form):
    """Where one party's payment ends and the other's begins."""

    number: Reference
    reading: Annotated[Decimal, Field(ge=0, le=10**9, max_digits=12, decimal_places=2, description="kWh")]
    read_on: Day


class Debts(Form):
    """That the outgoing buyer owes nothing. A transfer with open debts is refused."""

    cleared: Literal[True]
    last_amount: Amount
    paid_on: Day
    deposit: Amount | None = None


class PowerPurchaseNovation(Form):
    """Change of parties of a power purchase agreement between two buyers and a supplier (Civil Code Art 365-371)."""

    number: Reference
    made_on: Day
    effective_on: Day
    outgoing: NamedParty
    incoming: NamedParty
    supplier: OrganisationParty
    contract: OldContract
    meter: MeterReading
    debts: Debts

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.contract.signed_on > self.made_on:
            raise ValueError("the old contract must not be younger than this agreement")
        if self.effective_on < self.made_on:
            raise ValueError("the change must not take effect before the day it is agreed on")
        if self.meter.read_on > self.effective_on:
            raise ValueError("the meter must be read on the effective day or before")
        if self.debts.paid_on > self.effective_on:
            raise ValueError("the debts must be paid on the effective day or before")
        return self


class TemplateName(StrEnum):
    """The templates by name."""

    POWER_PURCHASE_NOVATION = "power-purchase-novation"


FIELDS: dict[TemplateName, type[Form]] = {TemplateName.POWER_PURCHASE_NOVATION: PowerPurchaseNovation}

SLOTS: dict[TemplateName, tuple[Slot, ...]] = {
    TemplateName.POWER_PURCHASE_NOVATION: (Slot("outgoing-buyer"), Slot("incoming-buyer"), Slot("supplier")),
}
"""The places for signatures of each template, in their order on the page."""


def level_in_words(level: BaselineLevel) -> str:
    """A level as a contract names it: `B-B`, `B-LTA`."""
    return "B-" + level.value.removeprefix("PAdES-BASELINE-")
