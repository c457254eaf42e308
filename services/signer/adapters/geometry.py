"""A page as it is displayed: its boxes and rotation turned into one geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.signer.model import Box

A4 = (0.0, 0.0, 595.276, 841.89)


@dataclass(frozen=True)
class Page:
    """One page: its object's number and generation, the visible box in its own units, its rotation in degrees and its
    unit in points.
    """

    number: int
    generation: int
    left: float
    bottom: float
    right: float
    top: float
    rotation: int
    unit: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points, as displayed."""
        wide, high = (self.right - self.left) * self.unit, (self.top - self.bottom) * self.unit
        return (high, wide) if self.rotation in (90, 270) else (wide, high)

    def place(self, box: Box) -> tuple[float, float, float, float]:
        """The displayed box as a rectangle in the page's own units: left, bottom, right, top."""
        x, y, w, h = (value / self.unit for value in (box.x, box.y, box.width, box.height))
        match self.rotation:
            case 90:
                left, bottom, w, h = self.right - y - h, self.bottom + x, h, w
            case 180:
                left, bottom = self.right - x - w, self.top - y - h
            case 270:
                left, bottom, w, h = self.left + y, self.top - x - w, h, w
            case _:
                left, bottom = self.left + x, self.bottom + y
        return left, bottom, left + w, bottom + h

    def displayed(self, rect: Any) -> Box | None:
        """A rectangle in the page's own units as a displayed box; none when it is no rectangle or has no area."""
        found = box_of(rect)
        if found is None:
            return None
        left, bottom, right, top = found
        match self.rotation:
            case 90:
                x, y, w, h = bottom - self.bottom, self.right - right, top - bottom, right - left
            case 180:
                x, y, w, h = self.right - right, self.top - top, right - left, top - bottom
            case 270:
                x, y, w, h = self.top - top, left - self.left, top - bottom, right - left
            case _:
                x, y, w, h = left - self.left, bottom - self.bottom, right - left, top - bottom
        return Box(*(value * self.unit for value in (x, y, w, h)))

    @property
    def matrix(self) -> tuple[int, int, int, int, int, int]:
        """What turns a drawing so that it stands upright on the displayed page."""
        return {0: (1, 0, 0, 1, 0, 0), 90: (0, 1, -1, 0, 0, 0), 180: (-1, 0, 0, -1, 0, 0), 270: (0, -1, 1, 0, 0, 0)}[
            self.rotation
        ]

    @classmethod
    def of(
        cls, number: int, generation: int, *, media: Any = None, crop: Any = None, rotate: Any = None, unit: Any = None
    ) -> Page:
        """The page with these entries, each four numbers or a number; what is absent or senseless gets its default."""
        frame = box_of(media) or A4
        cut = box_of(crop) or frame
        left, bottom = max(frame[0], cut[0]), max(frame[1], cut[1])
        right, top = min(frame[2], cut[2]), min(frame[3], cut[3])
        if right - left <= 0 or top - bottom <= 0:
            left, bottom, right, top = frame
        try:
            rotation = round(float(rotate or 0) / 90) * 90 % 360
            scale = float(1 if unit is None else unit)
        except (TypeError, ValueError, OverflowError):
            rotation, scale = 0, 1.0
        return cls(number, generation, left, bottom, right, top, rotation, scale if 0 < scale < 1000 else 1.0)


def box_of(value: Sequence[Any] | Any) -> tuple[float, float, float, float] | None:
    """Four numbers as left, bottom, right, top; none when they are no numbers, or have no area."""
    try:
        x0, y0, x1, y1 = (float(value[i]) for i in range(4))
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return box if box[2] > box[0] and box[3] > box[1] else None
