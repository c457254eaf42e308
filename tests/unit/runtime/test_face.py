"""The face's files: one place of colours, no foreign host, nothing inline."""

from __future__ import annotations

import re

import pytest

from services.runtime.face import FILES, enclosed

SHEETS = sorted(FILES.rglob("*.css"))
PAGES = sorted(FILES.rglob("*.html"))


def test_there_is_a_face():
    assert len(SHEETS) >= 4
    assert len(PAGES) >= 4


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_colours_are_named_in_tokens_alone(sheet):
    found = re.findall(r"#[0-9a-fA-F]{3,8}\b|\b(?:rgb|hsl|oklch|color)a?\(", sheet.read_text())
    assert bool(found) is (sheet.name == "tokens.css"), found


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_every_name_that_is_used_is_a_token(sheet):
    tokens = set(re.findall(r"(--[a-z0-9-]+):", (FILES / "static/tokens.css").read_text()))
    assert set(re.findall(r"var\((--[a-z0-9-]+)", sheet.read_text())) <= tokens


def test_dark_and_print_redefine_colours_only():
    text = (FILES / "static/tokens.css").read_text()
    light = dict(re.findall(r"(--[a-z0-9-]+): ([^;]+);", text.partition("@media")[0]))
    for block in text.split("@media")[1:]:
        for name in re.findall(r"(--[a-z0-9-]+):", block):
            assert light[name].startswith("#"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_nothing_inline_and_nothing_from_elsewhere(page):
    text = page.read_text()
    assert not re.search(r"\son[a-z]+=|\sstyle=|javascript:|<script(?![^>]*\ssrc=\"/)", text)
    assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", text)


def test_enclosed_sheets_need_no_other_file():
    text = enclosed("static/tokens.css", "static/parts.css", "static/report.css")
    assert "url(" not in text
    assert "--seal" in text
