"""Deterministic people and firms of the toy world: structurally valid identifiers, nobody real."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

_FAMILY = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ")
_MIDDLE = ("Thử", "Giả", "Mẫu", "Thí", "Minh Giả", "Thị Thử", "Văn Mẫu")
_GIVEN = ("Ánh", "Bình", "Cường", "Dũng", "Hạnh", "Khuê", "Lộc", "Mỹ", "Ngọc", "Phượng", "Quỳnh", "Sơn", "Tuấn", "Uyên")
_TRADES = ("Điện Mặt trời", "Cơ khí Chính xác", "Thủy sản", "Dệt may", "Kho vận", "Phần mềm")
_PROVINCES = ("001", "031", "048", "079", "092")
_WEIGHTS = (31, 29, 23, 19, 17, 13, 7, 5, 3)


@dataclass(frozen=True)
class Citizen:
    """A fictional natural person."""

    number: str
    full_name: str
    born: date


@dataclass(frozen=True)
class Firm:
    """A fictional enterprise."""

    tax_code: str
    name: str


def citizen(index: int) -> Citizen:
    """The citizen with this index (0 or more): a 12-digit number of valid structure and a made-up name."""
    female = index % 2
    year = 1950 + (index * 7) % 55
    century = 0 if year < 2000 else 2
    number = (
        f"{_PROVINCES[index % len(_PROVINCES)]}{century + female}{year % 100:02d}{(index * 7919 + 13) % 1_000_000:06d}"
    )
    words = (_FAMILY[index % len(_FAMILY)], _MIDDLE[index % len(_MIDDLE)], _GIVEN[index % len(_GIVEN)])
    return Citizen(number, " ".join(words), date(year, 1 + index % 12, 1 + index % 28))


def firm(index: int) -> Firm:
    """The firm with this index (0 or more): a tax code with a right check digit and a name that says it is a trial."""
    found = -1
    stem = 39_000_000 + 1
    while True:
        stem += 1
        digits = f"{stem:08d}"
        check = _check_digit("0" + digits)
        if check is not None:
            found += 1
            if found == index:
                return Firm(
                    f"0{digits}{check}", f"Công ty Cổ phần Thử nghiệm {_TRADES[index % len(_TRADES)]} {index:02d}"
                )


def _check_digit(nine: str) -> int | None:
    check = 10 - sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, nine, strict=True)) % 11
    return None if check == 10 else check


def everything_private(people: Iterable[Citizen]) -> set[str]:
    """What must never be found in an event, a log line, an error or a URL: numbers, names, birth dates."""
    found: set[str] = set()
    for person in people:
        found |= {person.number, person.full_name, person.born.isoformat(), person.born.strftime("%d/%m/%Y")}
    return found
