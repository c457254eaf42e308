"""Draws pages with PDFium and frames what differs between two states of a file. Runs in the sandbox's child only."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pypdfium2
from PIL import Image, ImageChops

from services.verifier.pictures import Frame, PageChange, PageImage, Pictures, Step

WIDTH, HEIGHT = 800, 1600
"""Pixels of a page image, at most."""
SHOWN = 8
"""Pages of the newest state that are shown."""
COMPARED = 40
"""Pages of each state that are compared."""
CHANGED = 8
"""Changed pages that are shown, over all steps."""
FRAMES = 12
"""Frames on a page; more are merged into one."""
PART = (600, 300)
"""Width and height, in thousandths of the page, of the most that is shown enlarged."""
SECONDS = 8.0
"""Drawing begins no further page after that."""
_CELL = 10
"""Side, in pixels, of the squares in which differences are collected."""
_SAME = 12
"""Differences of colour up to this, of 255, are no difference."""

_PDFIUM: Any = pypdfium2


class _Document:
    """One state of the file, drawn page by page."""

    def __init__(self, data: bytes) -> None:
        self._document = _PDFIUM.PdfDocument(data)
        self._document.init_forms()  # signature appearances are form widgets
        self.pages = len(self._document)
        self._drawn: dict[int, Image.Image | None] = {}

    def draw(self, index: int) -> Image.Image | None:
        """The page as an image; none when PDFium cannot draw it."""
        if index not in self._drawn:
            self._drawn[index] = self._fresh(index)
        return self._drawn[index]

    def enlarged(self, index: int, part: Frame) -> Image.Image | None:
        """A part of the page at twice the size."""
        image = self._fresh(index, 2)
        if image is None:
            return None
        across, down = image.width / 1000, image.height / 1000
        right, bottom = part.left + part.width, part.top + part.height
        return image.crop((int(part.left * across), int(part.top * down), int(right * across), int(bottom * down)))

    def _fresh(self, index: int, times: int = 1) -> Image.Image | None:
        most = (WIDTH * times, HEIGHT * times)
        try:
            page = self._document[index]
            width, height = page.get_size()
            if not (0 < width < 1e6 and 0 < height < 1e6):
                return None
            scale = min(most[0] / width, most[1] / height)
            if scale * width < 1 or scale * height < 1:
                return None
            image: Image.Image = page.render(scale=scale).to_pil().convert("RGB")
            page.close()
        except _PDFIUM.PdfiumError:
            return None
        return image.crop((0, 0, min(image.width, most[0] + 1), min(image.height, most[1] + 1)))


def draw(data: bytes, ends: Sequence[int]) -> Pictures:
    """The pages of `data`, and for each two neighbouring `ends` the pages that look different.

    `ends` are sizes in octets, ascending; the last one is that of the whole file.
    """
    until = time.monotonic() + SECONDS
    newest = _opened(data[: ends[-1]])
    if newest is None:
        return Pictures(fault="cannot-be-drawn")
    images = []
    for index in range(min(newest.pages, SHOWN)):
        if time.monotonic() > until:
            break
        image = newest.draw(index)
        if image is not None:
            images.append(_encoded(index, image))
    cut = len(images) < min(newest.pages, SHOWN)
    steps: list[Step] = []
    room = CHANGED
    before = _opened(data[: ends[0]]) if len(ends) > 1 else None
    for earlier, later in pairwise(ends):
        after = newest if later == ends[-1] else _opened(data[:later])
        step = Step(earlier=earlier, later=later, comparable=before is not None and after is not None)
        if before is not None and after is not None:
            found = []
            for change in _changes(before, after):
                if time.monotonic() > until or (change is not None and room == 0):
                    cut = True
                    break
                if change is not None:
                    found.append(change)
                    room -= 1
            step = step.model_copy(update={"pages": tuple(found)})
        steps.append(step)
        before = after
    return Pictures(
        pages=newest.pages,
        images=tuple(images),
        steps=tuple(steps),
        compared=min(newest.pages, COMPARED),
        cut=cut,
    )


def _opened(data: bytes) -> _Document | None:
    try:
        return _Document(data)
    except _PDFIUM.PdfiumError:
        return None


def _changes(before: _Document, after: _Document) -> Iterator[PageChange | None]:
    """One entry for each page compared: what differs, or none."""
    for index in range(min(max(before.pages, after.pages), COMPARED)):
        old = before.draw(index) if index < before.pages else None
        new = after.draw(index) if index < after.pages else None
        if index >= before.pages:
            yield PageChange(page=index + 1, kind="added", after=_encoded(index, new) if new else None)
        elif index >= after.pages:
            yield PageChange(page=index + 1, kind="removed", before=_encoded(index, old) if old else None)
        elif old is None and new is None:
            yield None
        else:
            frames = _frames(old, new) if old and new else (Frame(left=0, top=0, width=1000, height=1000),)
            yield (
                PageChange(
                    page=index + 1,
                    kind="changed",
                    before=_encoded(index, old) if old else None,
                    after=_encoded(index, new) if new else None,
                    frames=frames,
                    closer=_closer(before, after, index, frames),
                )
                if frames
                else None
            )


def _closer(
    before: _Document, after: _Document, index: int, frames: Sequence[Frame]
) -> tuple[PageImage, PageImage] | None:
    part = _part(frames)
    old = before.enlarged(index, part) if part else None
    new = after.enlarged(index, part) if part else None
    return (_encoded(index, old), _encoded(index, new)) if old and new else None


def _part(frames: Sequence[Frame]) -> Frame | None:
    """A good half of the page's width and a strip of its height around all frames; none when they need more."""
    if not frames:
        return None
    left, top = min(frame.left for frame in frames), min(frame.top for frame in frames)
    right = max(frame.left + frame.width for frame in frames)
    bottom = max(frame.top + frame.height for frame in frames)
    if right - left > PART[0] or bottom - top > PART[1]:
        return None
    width, height = PART[0], min(max(bottom - top + 60, 120), PART[1])
    left = min(max((left + right - width) // 2, 0), 1000 - width)
    top = min(max((top + bottom - height) // 2, 0), 1000 - height)
    return Frame(left=left, top=top, width=width, height=height)


def _frames(old: Image.Image, new: Image.Image) -> tuple[Frame, ...]:
    """Rectangles around what differs; none when the two look the same."""
    if old.size != new.size:
        return (Frame(left=0, top=0, width=1000, height=1000),)
    red, green, blue = ImageChops.difference(old, new).split()
    worst = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    mask = worst.point(lambda value: 255 if value > _SAME else 0)
    if mask.getbbox() is None:
        return ()
    columns, rows = -(-mask.width // _CELL), -(-mask.height // _CELL)
    # One pixel of 255 in a square of 100 still averages to more than nothing.
    padded = Image.new("L", (columns * _CELL, rows * _CELL))
    padded.paste(mask)
    cells = padded.reduce(_CELL).point(lambda value: 255 if value else 0)
    marked = {index for index, value in enumerate(cells.tobytes()) if value}
    boxes = _merged(_grouped(marked, columns))
    if len(boxes) > FRAMES:
        boxes = [_around(boxes)]
    return tuple(_frame(box, columns, rows) for box in boxes)


_Box = tuple[int, int, int, int]


def _grouped(marked: set[int], columns: int) -> list[_Box]:
    """Boxes (left, top, right, bottom; inclusive) around squares that touch, or nearly do."""
    left_over, boxes = set(marked), []
    while left_over:
        heap = [left_over.pop()]
        box = (columns, 1 << 30, -1, -1)
        while heap:
            y, x = divmod(heap.pop(), columns)
            box = (min(box[0], x), min(box[1], y), max(box[2], x), max(box[3], y))
            for down in (-1, 0, 1):
                for right in (-3, -2, -1, 0, 1, 2, 3):
                    near = (y + down) * columns + x + right
                    if 0 <= x + right < columns and near in left_over:
                        left_over.remove(near)
                        heap.append(near)
        boxes.append(box)
    return boxes


def _merged(boxes: list[_Box]) -> list[_Box]:
    """Boxes that overlap become one; from the top of the page to its bottom."""
    found = list(boxes)
    again = True
    while again:
        again = False
        for one in range(len(found)):
            for other in range(one + 1, len(found)):
                if _touch(found[one], found[other]):
                    found[one] = _around([found[one], found[other]])
                    del found[other]
                    again = True
                    break
            if again:
                break
    return sorted(found, key=lambda box: (box[1], box[0]))


def _touch(one: _Box, other: _Box) -> bool:
    return not (one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1])


def _around(boxes: Sequence[_Box]) -> _Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _frame(box: _Box, columns: int, rows: int) -> Frame:
    left, top = 1000 * box[0] // columns, 1000 * box[1] // rows
    right, bottom = -(-1000 * (box[2] + 1) // columns), -(-1000 * (box[3] + 1) // rows)
    return Frame(left=left, top=top, width=right - left, height=bottom - top)


def _encoded(index: int, image: Image.Image) -> PageImage:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=72, method=3)
    return PageImage(
        page=index + 1, width=image.width, height=image.height, image=base64.b64encode(out.getvalue()).decode()
    )
