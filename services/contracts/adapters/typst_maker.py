"""Makes contracts from templates with Typst: PDF/A-3b, fonts embedded, the same input gives the same bytes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import typst

from events.contract import Placement
from events.errors import Refused
from events.values import Slot
from services.contracts.aggregate import SigningTerms
from services.contracts.fields import Form, PowerPurchaseNovation, TemplateName, level_in_words
from services.contracts.ports import Made

VIETNAM = timezone(timedelta(hours=7))
_FOLDER = Path(__file__).parents[1] / "templates"
_NOTICES = {
    "data-message": ("hệ thống ký kết", "the signing system"),
    "mail": ("thư điện tử", "mail"),
    "webhook": ("giao diện lập trình của hệ thống", "the system's programming interface"),
}


class TypstMaker:
    """Renders templates off the event loop."""

    async def make(
        self, template: TemplateName, fields: Form, terms: SigningTerms, order: Sequence[Sequence[Slot]], now: datetime
    ) -> Made:
        """The document and where its signature areas are.

        Raises:
            Refused: a field holds a letter that the embedded fonts do not have.
        """
        return await asyncio.to_thread(render, template, fields, terms, order, now)


def render(
    template: TemplateName, fields: Form, terms: SigningTerms, order: Sequence[Sequence[Slot]], now: datetime
) -> Made:
    """Render one document. `order`: the slots in the order of signing, those that sign in parallel together.

    Raises:
        Refused: a field holds a letter that the embedded fonts do not have.
    """
    if not isinstance(fields, PowerPurchaseNovation):
        raise AssertionError(template)
    inputs = {"data": json.dumps(_novation(fields, terms, order, now), ensure_ascii=False)}
    with _lock:
        compiler = _compiler(template)
        try:
            pdf = compiler.compile(
                sys_inputs=inputs, format="pdf", pdf_standards=["a-3b"], timestamp=now.replace(microsecond=0)
            )
        except typst.TypstError as fault:
            # PDF/A forbids the box that stands for a missing letter (ISO 19005-3 clause 6.2.11.8).
            if "could not be displayed" in str(fault):
                raise _letter_missing() from None
            raise
        areas = json.loads(compiler.query("<signature-area>", field="value"))
    return Made(
        pdf=bytes(pdf),
        placements={
            Slot(area["slot"]): Placement(
                page=area["page"],
                x=round(area["x"], 2),
                y=round(area["page-height"] - area["y"] - area["height"], 2),
                width=area["width"],
                height=area["height"],
            )
            for area in areas
        },
    )


_lock = threading.Lock()


@cache
def _compiler(template: TemplateName) -> Any:
    source = _FOLDER / f"{template.value.replace('-', '_')}.typ"
    return typst.Compiler(str(source), root=str(_FOLDER), ignore_system_fonts=True)


def _novation(
    fields: PowerPurchaseNovation, terms: SigningTerms, order: Sequence[Sequence[Slot]], now: datetime
) -> dict[str, Any]:
    local = now.astimezone(VIETNAM)
    names = {
        "outgoing-buyer": ("Bên A", "Party A"),
        "incoming-buyer": ("Bên B", "Party B"),
        "supplier": ("Bên C", "Party C"),
    }
    return {
        "title": "Thỏa thuận chuyển giao hợp đồng mua bán điện",
        "number": fields.number,
        "made": {part: getattr(local, part) for part in ("year", "month", "day", "hour", "minute", "second")},
        "date": _day(fields.made_on),
        "effective_on": _day(fields.effective_on),
        "outgoing": fields.outgoing.model_dump(),
        "incoming": fields.incoming.model_dump(),
        "supplier": fields.supplier.model_dump(),
        "contract": {**fields.contract.model_dump(exclude={"signed_on"}), "signed_on": _day(fields.contract.signed_on)},
        "meter": {
            "number": fields.meter.number,
            "reading": _number(f"{fields.meter.reading:,}"),
            "read_on": _day(fields.meter.read_on),
        },
        "debts": {
            "last_amount": _number(f"{fields.debts.last_amount:,}"),
            "paid_on": _day(fields.debts.paid_on),
            "deposit": None if fields.debts.deposit is None else _number(f"{fields.debts.deposit:,}"),
        },
        "terms": {
            "format": terms.format,
            "level": level_in_words(terms.level),
            "notices_vi": _NOTICES[terms.notices][0],
            "notices_en": _NOTICES[terms.notices][1],
            "order_vi": _in_words(order, names, 0, " và ", "; rồi "),
            "order_en": _in_words(order, names, 1, " and ", ", then "),
        },
    }


def _in_words(
    order: Sequence[Sequence[Slot]], names: dict[str, tuple[str, str]], which: int, both: str, then: str
) -> str:
    return then.join(both.join(names[slot][which] for slot in together) for together in order)


def _day(day: date) -> dict[str, str]:
    months = "January February March April May June July August September October November December".split()
    return {"vi": f"{day:%d/%m/%Y}", "en": f"{day.day} {months[day.month - 1]} {day.year}"}


def _number(english: str) -> str:
    """1,234.5 as Vietnamese writes it: 1.234,5."""
    return english.translate(str.maketrans(",.", ".,"))


def _letter_missing() -> Refused:
    return Refused(
        "letter-not-printable",
        found="a letter that the fonts of the template do not have",
        expected="Latin letters, Vietnamese ones among them, digits and common signs",
        remedy="write the field in Vietnamese or English letters",
    )
