"""Stream filters with a limit on what they may yield (ISO 32000-2 clause 7.4)."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from itertools import accumulate

from services.verifier.pdf.syntax import SPACE, Misformed, Value

MOST_FILTERS = 8
_SHORT = {
    "Fl": "FlateDecode",
    "LZW": "LZWDecode",
    "AHx": "ASCIIHexDecode",
    "A85": "ASCII85Decode",
    "RL": "RunLengthDecode",
}
_BAD_85 = re.compile(rb"[^!-uz]")


class Budget:
    """How many decoded bytes one file may still yield: decompression bombs end here."""

    def __init__(self, octets: int, each: int) -> None:
        self.left = octets
        self.each = each

    @property
    def limit(self) -> int:
        """The most that the next stream may yield."""
        return min(self.left, self.each)

    def spend(self, octets: int) -> None:
        """Count what was yielded.

        Raises:
            Misformed: more than the limit.
        """
        self.left -= octets
        if self.left < 0 or octets > self.each:
            raise Misformed("decoded bytes beyond the limit")


def decode(raw: bytes, filters: list[Value], parameters: list[Value], budget: Budget) -> tuple[bytes, list[Value]]:
    """(the bytes behind all filters that this module knows, the filters that are left: images).

    Raises:
        Misformed: the bytes do not fit their filters, or yield more than the budget.
    """
    if len(filters) > MOST_FILTERS:
        raise Misformed("too many filters")
    for index, name in enumerate(filters):
        kind = _SHORT.get(name, name) if isinstance(name, str) else None
        given = parameters[index] if index < len(parameters) else None
        given = given if isinstance(given, dict) else {}
        if kind == "FlateDecode":
            raw = _predicted(_inflated(raw, budget), given)
        elif kind == "LZWDecode":
            raw = _predicted(_lzw(raw, given.get("EarlyChange", 1) != 0, budget), given)
        elif kind == "ASCIIHexDecode":
            raw = _hexadecimal(raw)
        elif kind == "ASCII85Decode":
            raw = _base85(raw)
        elif kind == "RunLengthDecode":
            raw = _run_length(raw, budget)
        elif kind == "Crypt" and given.get("Name", "Identity") == "Identity":
            continue
        else:
            return raw, filters[index:]
        budget.spend(len(raw))
    return raw, []


def _inflated(raw: bytes, budget: Budget) -> bytes:
    most = budget.limit
    machine = zlib.decompressobj()
    try:
        data = machine.decompress(raw, most + 1)
    except zlib.error:
        data = _salvaged(raw, most + 1)
    if len(data) > most:
        raise Misformed("decoded bytes beyond the limit")
    return data


def _salvaged(raw: bytes, most: int) -> bytes:
    """What comes before the damage, also without the header: readers show it, so it counts."""
    best = b""
    for window, data in ((zlib.MAX_WBITS, raw), (-zlib.MAX_WBITS, raw[2:])):
        machine = zlib.decompressobj(window)
        parts: list[bytes] = []
        size = 0
        try:
            for at in range(0, len(data), 256):
                part = machine.decompress(data[at : at + 256], most - size)
                parts.append(part)
                size += len(part)
                if size >= most or machine.eof:
                    break
        except zlib.error:
            pass
        found = b"".join(parts)
        if len(found) > len(best):
            best = found
    if not best and raw.strip(SPACE):
        raise Misformed("FlateDecode")
    return best


def _integer(given: dict[str, Value], key: str, default: int, most: int) -> int:
    value = given.get(key, default)
    if type(value) is not int or not 0 < value <= most:
        raise Misformed(f"{key} of a filter")
    return value


def _predicted(data: bytes, given: dict[str, Value]) -> bytes:
    predictor = given.get("Predictor", 1)
    if predictor in (None, 1) or not data:
        return data
    colours = _integer(given, "Colors", 1, 64)
    bits = _integer(given, "BitsPerComponent", 8, 32)
    columns = _integer(given, "Columns", 1, 1_000_000)
    width = (colours * bits * columns + 7) // 8
    pixel = max(1, colours * bits // 8)
    if predictor == 2:
        return _tiff(data, width, colours, bits)
    if type(predictor) is not int or not 10 <= predictor <= 15:
        raise Misformed("Predictor of a filter")
    return _png(data, width, pixel)


def _tiff(data: bytes, width: int, colours: int, bits: int) -> bytes:
    if bits != 8:
        raise Misformed("TIFF predictor of other than 8 bits")
    out = bytearray(data)
    for row in range(0, len(out), width):
        for at in range(row + colours, min(row + width, len(out))):
            out[at] = (out[at] + out[at - colours]) & 0xFF
    return bytes(out)


def _png(data: bytes, width: int, pixel: int) -> bytes:
    step = width + 1
    if len(data) % step:
        data += bytes(step - len(data) % step)
    kinds = set(data[::step])
    rows = len(data) // step
    if kinds == {2}:
        out = bytearray(rows * width)
        for column in range(width):
            out[column::width] = bytes([total & 0xFF for total in accumulate(data[column + 1 :: step])])
        return bytes(out)
    result = bytearray()
    above = bytes(width)
    for at in range(0, len(data), step):
        kind = data[at]
        row = bytearray(data[at + 1 : at + step])
        if kind == 1:
            for i in range(pixel, width):
                row[i] = (row[i] + row[i - pixel]) & 0xFF
        elif kind == 2:
            for i in range(width):
                row[i] = (row[i] + above[i]) & 0xFF
        elif kind == 3:
            for i in range(width):
                left = row[i - pixel] if i >= pixel else 0
                row[i] = (row[i] + (left + above[i]) // 2) & 0xFF
        elif kind == 4:
            for i in range(width):
                left, corner = (row[i - pixel], above[i - pixel]) if i >= pixel else (0, 0)
                row[i] = (row[i] + _paeth(left, above[i], corner)) & 0xFF
        elif kind != 0:
            raise Misformed("PNG predictor of a row")
        result += row
        above = bytes(row)
    return bytes(result)


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    to_left, to_up, to_corner = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


def _lzw(raw: bytes, early: bool, budget: Budget) -> bytes:
    most = budget.limit
    out: list[bytes] = []
    size = 0
    table: list[bytes] = [bytes((code,)) for code in range(256)] + [b"", b""]
    width, held, bits = 9, 0, 0
    previous = b""
    shift = 1 if early else 0
    for octet in raw:
        held = (held << 8) | octet
        bits += 8
        if bits < width:
            continue
        bits -= width
        code = held >> bits
        held &= (1 << bits) - 1
        if code == 257:
            break
        if code == 256:
            del table[258:]
            width, previous = 9, b""
            continue
        if code < len(table) and code != 256:
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            raise Misformed("LZWDecode")
        out.append(entry)
        size += len(entry)
        if size > most:
            raise Misformed("decoded bytes beyond the limit")
        if previous and len(table) < 4096:
            table.append(previous + entry[:1])
        previous = entry
        full = len(table) + shift
        width = 12 if full >= 2048 else 11 if full >= 1024 else 10 if full >= 512 else 9
    return b"".join(out)


def _hexadecimal(raw: bytes) -> bytes:
    digits = raw.split(b">", 1)[0].translate(None, SPACE)
    if len(digits) % 2:
        digits += b"0"
    try:
        return binascii.unhexlify(digits)
    except binascii.Error as fault:
        raise Misformed("ASCIIHexDecode") from fault


def _base85(raw: bytes) -> bytes:
    text = raw.translate(None, SPACE)
    text = text.removeprefix(b"<~").split(b"~", 1)[0]
    if _BAD_85.search(text):
        raise Misformed("ASCII85Decode")
    try:
        return base64.a85decode(text)
    except ValueError as fault:
        raise Misformed("ASCII85Decode") from fault


def _run_length(raw: bytes, budget: Budget) -> bytes:
    most = budget.limit
    out = bytearray()
    at, end = 0, len(raw)
    while at < end:
        length = raw[at]
        if length == 128:
            break
        if length < 128:
            out += raw[at + 1 : at + 2 + length]
            at += 2 + length
        else:
            out += raw[at + 1 : at + 2] * (257 - length)
            at += 2
        if len(out) > most:
            raise Misformed("decoded bytes beyond the limit")
    return bytes(out)
