"""`antin batch`: what is to be approved, wrong input told, proofs that hold and proofs that do not."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from cli.batch import DONE, FAILED, USAGE, check, order_of, prepare, sign
from domain.merkle import Tree
from events.values import BaselineLevel, CredentialId, Digest

CREDENTIAL = "0" * 8 + "-0000-4000-8000-" + "0" * 12


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"%PDF-" + name.encode())
    return tmp_path


def test_the_order_is_that_of_the_names(tmp_path, capsys):
    folder = folder_of(tmp_path, "b.pdf", "a/z.pdf", "c.txt", "a/y.PDF")
    order = order_of(folder)
    assert order.names == ("a/y.PDF", "a/z.pdf", "b.pdf")
    assert prepare(folder, CREDENTIAL, as_json=True) == DONE
    said = json.loads(capsys.readouterr().out)
    assert said == order.to_approve(CredentialId(CREDENTIAL))
    assert (said["purpose"], said["txn"], said["count"]) == ("sign-documents", f"{CREDENTIAL}/3", 3)


async def test_wrong_input_is_told(tmp_path, capsys):
    folder = folder_of(tmp_path / "in", "a.pdf")
    (tmp_path / "empty").mkdir()
    assert prepare(tmp_path / "none", CREDENTIAL, as_json=False) == USAGE
    assert prepare(tmp_path / "empty", CREDENTIAL, as_json=False) == USAGE
    assert prepare(folder, "no uuid", as_json=False) == USAGE
    assert check(tmp_path / "empty") == USAGE
    missing = tmp_path / "none"
    code = await sign(folder, tmp_path / "out", "http://127.0.0.1:1", missing, CREDENTIAL, missing, BaselineLevel.B)
    assert code == USAGE
    told = capsys.readouterr().err
    assert told.count("expected") == 4
    assert "not a UUID" in told
    assert "--key-file" in told


async def test_an_installation_that_is_away_is_told(tmp_path, capsys):
    folder = folder_of(tmp_path / "in", "a.pdf")
    (tmp_path / "key").write_text("k")
    (tmp_path / "sad").write_text("a.b.c")
    code = await sign(
        folder, tmp_path / "out", "http://127.0.0.1:1", tmp_path / "key", CREDENTIAL, tmp_path / "sad", BaselineLevel.B
    )
    assert code == FAILED
    assert "nothing signed twice" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["", "signed", "path", "activation", "size", "purpose", "root"])
def test_a_proof_holds_or_says_why_not(tmp_path, capsys, wrong):
    documents = [b"%PDF-1", b"%PDF-2", b"%PDF-3"]
    tree = Tree([Digest.of(one).raw for one in documents])
    signed = documents[1] + b" and a signature"
    claims = {"digest": tree.root, "purpose": "sign" if wrong == "purpose" else "sign-documents"}
    if wrong == "activation":
        claims["digest"] = Digest.of(b"another")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    path = [str(one) for one in tree.proof(1).path]
    proof = {
        "place": 1,
        "count": 3,
        "digest": Digest.of(documents[1]),
        "size": len(documents[1]) - (wrong == "size"),
        "path": path[::-1] if wrong == "path" else path,
        "root": Digest.of(b"another") if wrong == "root" else tree.root,
        "activation": f"e30.{body}.sig",
        "signed": Digest.of(signed),
    }
    (tmp_path / "b.pdf").write_bytes(signed + (b"!" if wrong == "signed" else b""))
    (tmp_path / "b.pdf.proof.json").write_text(json.dumps(proof))
    assert check(tmp_path) == (FAILED if wrong else DONE)
    assert ("does not hold" in capsys.readouterr().out) == bool(wrong)
