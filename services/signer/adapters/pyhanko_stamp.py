# mypy: allow-untyped-calls
"""A stamp drawn through pyHanko: embedded font, fit for PDF/A, upright on every page."""

from __future__ import annotations

from io import BytesIO

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.font.opentype import GlyphAccumulator
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.writer import BasePdfFileWriter

from services.signer.adapters import stamps


def draw(
    writer: BasePdfFileWriter,
    text: stamps.StampText,
    width: float,
    height: float,
    matrix: tuple[int, int, int, int, int, int],
) -> generic.IndirectObject:
    """Add the stamp as a form XObject of `width` x `height` units; `matrix` turns it on rotated pages.

    One calibrated grey, no transparency, the font embedded and subset with its Unicode map (ISO 19005-3 clauses
    6.2.4, 6.2.11).
    """
    arranged = stamps.arrange(text, width, height)
    font = GlyphAccumulator(writer, BytesIO(stamps.font_bytes()), font_size=arranged.size)
    font.tt.recalcTimestamp = False  # the same text gives the same bytes at any time
    content = arranged.operators(height, lambda line: bytes(font.shape(line, with_actual_text=False).graphics_ops))
    font.prepare_write()
    form = generic.StreamObject(
        {
            pdf_name("/Type"): pdf_name("/XObject"),
            pdf_name("/Subtype"): pdf_name("/Form"),
            pdf_name("/BBox"): _numbers((0, 0, width, height)),
            pdf_name("/Matrix"): _numbers(matrix),
            pdf_name("/Resources"): generic.DictionaryObject(
                {
                    pdf_name("/Font"): generic.DictionaryObject({pdf_name("/F"): font.as_resource()}),
                    pdf_name("/ColorSpace"): generic.DictionaryObject({pdf_name("/Grey"): _grey()}),
                }
            ),
        },
        stream_data=content,
    )
    form.compress()
    return writer.add_object(form)


def _grey() -> generic.ArrayObject:
    return generic.ArrayObject(
        [
            pdf_name("/CalGray"),
            generic.DictionaryObject(
                {
                    pdf_name("/WhitePoint"): _numbers((0.9505, 1, 1.089)),
                    pdf_name("/Gamma"): generic.FloatObject("2.2"),
                }
            ),
        ]
    )


def _numbers(values: tuple[float, ...]) -> generic.ArrayObject:
    return generic.ArrayObject([generic.FloatObject(f"{value:.4f}".rstrip("0").rstrip(".")) for value in values])
