"""The table of the CSC API's methods in the docs says what the server says."""

from __future__ import annotations

import re
from pathlib import Path

from services.signer.csc.model import METHODS

_ROW = re.compile(r"^\| (.+?) \| (yes|no) \|", re.MULTILINE)


def test_the_table_says_yes_to_just_what_is_there():
    text = (Path(__file__).parents[2] / "docs" / "csc.md").read_text(encoding="utf-8")
    said = {name: answer == "yes" for cell, answer in _ROW.findall(text) for name in re.findall(r"`([^`]+)`", cell)}
    assert {name for name, there in said.items() if there} == set(METHODS)
    assert len(said) > len(METHODS), "what is missing is named, too"
