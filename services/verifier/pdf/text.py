"""Text strings and dates of PDF (ISO 32000-2 clauses 7.9.2 and 7.9.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_DATE = re.compile(r"\s*(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?\s*(?:(Z)|([+-])(\d\d)'?(\d\d)?'?)?", re.ASCII)
_PDF_DOC = {
    **dict(zip(range(0x18, 0x20), "˘ˇˆ˙˝˛˚˜", strict=True)),
    **dict(zip(range(0x80, 0x9F), "•†‡…—–ƒ⁄‹›−‰„“”‘’‚™ﬁﬂŁŒŠŸŽıłœšž", strict=True)),
    0xA0: "€",
}


def text(data: bytes) -> str:
    """A text string: UTF-16 or UTF-8 with its mark, else PDFDocEncoding; never raises."""
    if data.startswith(b"\xfe\xff"):
        return data[2:].decode("utf-16-be", "replace")
    if data.startswith(b"\xff\xfe"):
        return data[2:].decode("utf-16-le", "replace")
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:].decode("utf-8", "replace")
    if data.isascii():
        return data.decode("ascii").translate(_PDF_DOC)
    return "".join(_PDF_DOC.get(octet, chr(octet)) for octet in data)


def date(data: bytes) -> datetime | None:
    """A date, aware; UTC where it names no offset; none when it is no date."""
    found = _DATE.match(text(data[:64]))
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(each) if each else None for each in found.groups()[:6])
    zone = UTC
    if found[8]:
        hours, minutes = int(found[9]), int(found[10] or 0)
        if hours > 23 or minutes > 59:
            return None
        offset = timedelta(hours=hours, minutes=minutes)
        zone = timezone(-offset if found[8] == "-" else offset)
    try:
        return datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=zone)
    except ValueError:
        return None
