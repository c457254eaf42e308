"""Which of the offered forms and languages a request prefers (RFC 9110 clauses 12.5.1 and 12.5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from events.errors import Refused

Language = Literal["vi", "en"]


def media(accept: str, offered: Sequence[str]) -> str:
    """The offered media type that is wanted most; the first one offered when all the same.

    Raises:
        Refused: 406, none of them is wanted.
    """
    wanted = _weighed(accept or "*/*")
    best = max(offered, key=lambda one: _weight(one, wanted))  # the first of equals
    if _weight(best, wanted) <= 0:
        raise Refused(
            "not-acceptable",
            found="an Accept header that wants none of the forms of this answer",
            expected=" or ".join(offered),
            remedy="set the Accept header",
            status=406,
        )
    return best


def language(asked: str | None, accept: str = "", cookie: str | None = None) -> Language:
    """What was asked for, else what the cookie remembers, else what the browser wants; Vietnamese otherwise."""
    for said in (asked, cookie):
        if said == "vi":
            return "vi"
        if said == "en":
            return "en"
    weights = {"vi": 0.0, "en": 0.0}
    for tag, weight in _weighed(accept):
        short = tag.partition("-")[0]
        if short in weights:
            weights[short] = max(weights[short], weight)
    return "en" if weights["en"] > weights["vi"] else "vi"


def _weight(offered: str, wanted: Sequence[tuple[str, float]]) -> float:
    """The weight of the most specific range that fits."""
    kind = offered.partition("/")[0]
    for fitting in (offered, f"{kind}/*", "*/*"):
        found = [weight for name, weight in wanted if name == fitting]
        if found:
            return max(found)
    return 0.0


def _weighed(header: str) -> list[tuple[str, float]]:
    found = []
    for part in header[:1000].lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = min(max(float(parameter[2:]), 0.0), 1.0)
                except ValueError:
                    weight = 0.0
        if name:
            found.append((name, weight))
    return found
