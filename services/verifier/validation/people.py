"""Whom certificates name, as a report shows it: names and organisations, tax codes in full, personal numbers masked."""

from __future__ import annotations

import re
from functools import lru_cache

from services.verifier.model import NamedParty, SeenCertificate
from services.verifier.validation import names
from services.verifier.validation.certificates import Certificate
from services.verifier.validation.der import Malformed

_PERSONAL = re.compile(
    r"^(CCCD|CMND|HC|BHXH|CMT|PNO[A-Z]{2}|IDC[A-Z]{2}|PAS[A-Z]{2}|NTR[A-Z]{2}-P)[:\-](.+)$", re.IGNORECASE
)
_DIGIT = re.compile(r"\d")
_LONG_NUMBER = re.compile(r"\d(?:[\d -]{4,})\d")
_IN_A_NAME = re.compile(r"(?<!\d)(?:\d{9}|\d{11}|\d{12})(?!\d)")
"""Personal numbers as some authorities write them into the common name: 9, 11 or 12 digits; tax codes have 10 or 13."""
_COMPANY = re.compile(r"^(MST|VAT[A-Z]{2}|NTR[A-Z]{2}|TIN[A-Z]{2}|MNS)[:\-](.+)$", re.IGNORECASE)


@lru_cache(maxsize=256)
def party(raw: bytes) -> NamedParty:
    """A distinguished name (DER) for people; a name without any text becomes `?`."""
    values: dict[bytes, list[str]] = {}
    for kind, text in names.pairs(raw):
        values.setdefault(kind, []).append(text)
    first = {kind: found[0][:200] for kind, found in values.items()}
    shown = first.get(names.COMMON_NAME) or first.get(names.ORGANISATION) or first.get(names.UNIT) or "?"
    identifiers = [
        masked(value[:100])
        for kind in (names.USER_ID, names.SERIAL_NUMBER, names.ORGANISATION_IDENTIFIER)
        for value in values.get(kind, [])[:5]
    ]
    return NamedParty(
        name=_IN_A_NAME.sub(lambda number: _hidden(number.group()), shown),
        organisation=first.get(names.ORGANISATION),
        unit=first.get(names.UNIT),
        title=first.get(names.TITLE),
        identifiers=tuple(identifiers),
        country=first.get(names.COUNTRY),
    )


def masked(identifier: str) -> str:
    """A personal number with all but its last three characters hidden; a tax code as it is."""
    if _COMPANY.match(identifier) and not _PERSONAL.match(identifier):
        return identifier
    match = _PERSONAL.match(identifier)
    if match:
        return f"{match.group(1).upper()}:{_hidden(match.group(2))}"
    return _DIGIT.sub("•", identifier[:-3]) + identifier[-3:] if _LONG_NUMBER.search(identifier) else identifier


def certificate(found: Certificate, anchor: Certificate | None) -> SeenCertificate:
    """What a reader wants to know of a certificate."""
    try:
        usages = (*sorted(found.usages or ()), *(found.purposes or ()))
    except Malformed:
        usages = ("?",)
    return SeenCertificate(
        sha256=found.sha256.hex(),
        serial=str(found.serial),
        subject=party(found.subject),
        issuer=party(found.issuer),
        managed_by=party(anchor.subject) if anchor is not None else None,
        not_before=found.not_before,
        not_after=found.not_after,
        key=found.key.algorithm,
        usages=usages,
    )


def _hidden(text: str) -> str:
    return "•" * max(len(text) - 3, 3) + text[-3:]
