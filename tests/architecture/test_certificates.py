"""X.509 is read in one place, where every fault of what others send is the same error."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
READER = "services/runtime/certificates.py"


def test_nobody_else_asks_the_library() -> None:
    """`x509.load_...` raises InvalidVersion, which is no ValueError, and leaves the rest for later."""
    readers = set()
    for top in ("services", "cli"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                named = (
                    node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
                )
                if named.startswith(("load_der_x509_", "load_pem_x509_")):
                    readers.add(path.relative_to(ROOT).as_posix())
    assert readers == {READER}
