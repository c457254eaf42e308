"""Whom certificates name, as a report shows it: names and organisations, tax codes in full, personal numbers masked."""

from __future__ import annotations

import re
from typing import Any

from services.verifier.adapters import cms
from services.verifier.adapters.standing import validity
from services.verifier.model import NamedParty, SeenCertificate

_PERSONAL = re.compile(
    r"^(CCCD|CMND|HC|BHXH|CMT|PNO[A-Z]{2}|IDC[A-Z]{2}|PAS[A-Z]{2}|NTR[A-Z]{2}-P)[:\-](.+)$", re.IGNORECASE
)
_DIGIT = re.compile(r"\d")
_LONG_NUMBER = re.compile(r"\d(?:[\d -]{4,})\d")
_IN_A_NAME = re.compile(r"(?<!\d)(?:\d{9}|\d{11}|\d{12})(?!\d)")
"""Personal numbers as some authorities write them into the common name: 9, 11 or 12 digits; tax codes have 10 or 13."""
_COMPANY = re.compile(r"^(MST|VAT[A-Z]{2}|NTR[A-Z]{2}|TIN[A-Z]{2}|MNS)[:\-](.+)$", re.IGNORECASE)


def party(name: Any) -> NamedParty:
    """A distinguished name for people; a name without any text becomes `?`."""
    values: dict[str, list[str]] = {}
    try:
        for rdn in name.chosen:
            for pair in rdn:
                values.setdefault(str(pair["type"].native), []).append(str(pair["value"].native))
    except Exception:  # noqa: BLE001 - a malformed name is a name nobody can read
        values = {}
    first = {key: found[0][:200] for key, found in values.items()}
    shown = first.get("common_name") or first.get("organization_name") or first.get("organizational_unit_name") or "?"
    identifiers = [
        masked(value[:100])
        for key in ("user_id", "serial_number", "organization_identifier")
        for value in values.get(key, [])[:5]
    ]
    return NamedParty(
        name=_IN_A_NAME.sub(lambda number: _hidden(number.group()), shown),
        organisation=first.get("organization_name"),
        unit=first.get("organizational_unit_name"),
        title=first.get("title"),
        identifiers=tuple(identifiers),
        country=first.get("country_name"),
    )


def masked(identifier: str) -> str:
    """A personal number with all but its last three characters hidden; a tax code as it is."""
    if _COMPANY.match(identifier) and not _PERSONAL.match(identifier):
        return identifier
    match = _PERSONAL.match(identifier)
    if match:
        return f"{match.group(1).upper()}:{_hidden(match.group(2))}"
    return _DIGIT.sub("•", identifier[:-3]) + identifier[-3:] if _LONG_NUMBER.search(identifier) else identifier


def certificate(found: Any, anchor: Any | None) -> SeenCertificate:
    """What a reader wants to know of a certificate (asn1crypto)."""
    not_before, not_after = validity(found)
    usages: list[str] = []
    try:
        usages += sorted(found.key_usage_value.native) if found.key_usage_value else []
        usages += (
            [str(each) for each in found.extended_key_usage_value.native] if found.extended_key_usage_value else []
        )
    except Exception:  # noqa: BLE001
        usages.append("?")
    return SeenCertificate(
        sha256=found.sha256.hex(),
        serial=str(found.serial_number),
        subject=party(found.subject),
        issuer=party(found.issuer),
        managed_by=party(anchor.subject) if anchor is not None else None,
        not_before=not_before,
        not_after=not_after,
        key=cms.describe_key(found),
        usages=tuple(usages),
    )


def _hidden(text: str) -> str:
    return "•" * max(len(text) - 3, 3) + text[-3:]
