"""Edits of DER that keep its length, so that the hex or stream that holds it keeps its place."""

from __future__ import annotations

import random
from dataclasses import dataclass

_DEEP = 40
_MANY = 4000


@dataclass(frozen=True)
class Node:
    """One value: where its tag stands, where its content begins, where it ends."""

    tag: int
    content: int
    end: int


def nodes(data: bytes) -> list[Node]:
    """Every value that can be reached by following lengths, also into strings that hold DER themselves."""
    found: list[Node] = []
    _walk(data, 0, len(data), 0, found)
    return found


def _walk(data: bytes, start: int, end: int, depth: int, found: list[Node]) -> None:
    while start + 2 <= end and depth < _DEEP and len(found) < _MANY:
        content, length = start + 2, data[start + 1]
        if length & 0x80:
            octets = length & 0x7F
            if not 0 < octets <= 4 or content + octets > end:
                return
            length = int.from_bytes(data[content : content + octets], "big")
            content += octets
        if content + length > end:
            return
        found.append(Node(start, content, content + length))
        if data[start] & 0x20 or (data[start] == 0x04 and data[content : content + 1] == b"\x30"):
            _walk(data, content, content + length, depth + 1, found)
        start = content + length


def edited(data: bytes, chance: random.Random) -> bytes:
    """One edit: a tag, a length, a content, a swap of neighbours, a number at its extreme."""
    found = nodes(data)
    if not found:
        return data
    out = bytearray(data)
    node = chance.choice(found)
    size = node.end - node.content
    match chance.randrange(9):
        case 0:
            out[node.tag] = chance.choice(
                (0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x17, 0x18, 0x30, 0x31, 0xA0, 0xA1)
            )
        case 1:
            out[node.tag] ^= 1 << chance.randrange(8)
        case 2:
            out[node.tag + 1] = chance.choice((0x00, 0x80, 0x81, 0x84, 0x88, 0xFF, (out[node.tag + 1] + 1) & 0xFF))
        case 3 if size:
            out[chance.randrange(node.content, node.end)] = chance.randrange(256)
        case 4:
            out[node.content : node.end] = chance.choice((b"\x00", b"\xff", b"\x80", b"0")) * size
        case 5:
            same = [one for one in found if one.end - one.tag == node.end - node.tag and one.tag >= node.end]
            if same:
                other = chance.choice(same)
                mine, theirs = out[node.tag : node.end], out[other.tag : other.end]
                out[node.tag : node.end], out[other.tag : other.end] = theirs, mine
        case 6:
            other = chance.choice(found)
            copied = data[other.tag : other.end][: node.end - node.tag]
            out[node.tag : node.tag + len(copied)] = copied
        case 7:
            numbers = [one for one in found if data[one.tag] in (0x02, 0x0A, 0x06, 0x17, 0x18)] or found
            number = chance.choice(numbers)
            if number.end > number.content:
                out[number.content] = chance.choice((0x00, 0x7F, 0x80, 0xFF, data[number.content] ^ 1))
        case _ if size > 1:
            cut = chance.randrange(1, size)
            out[node.content : node.end] = data[node.content + cut : node.end] + data[node.content : node.content + cut]
    return bytes(out)
