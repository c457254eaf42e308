"""`antin batch`: what is to be approved, wrong input told, proofs that hold and proofs that do not."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from cli.batch import DONE, FAILED, USAGE, check, order_of, prepare, sign
from domain.activation import TYPE
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
    assert told.count("expected") == 5
    assert "a UUID in lower case" in told
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


async def test_nothing_is_written_over_and_nothing_approved_that_would_be_refused(tmp_path, capsys):
    folder = folder_of(tmp_path / "in", "a.pdf", "b.pdf")
    (tmp_path / "key").write_text("k")
    given = ("http://127.0.0.1:1", tmp_path / "key", CREDENTIAL, tmp_path / "key", BaselineLevel.B)
    for out in (folder, folder / "signed", tmp_path / "key"):
        assert await sign(folder, out, *given) == USAGE
    assert await sign(folder, tmp_path / "out", "nonsense", *given[1:]) == USAGE
    assert (folder / "a.pdf").read_bytes() == b"%PDF-a.pdf"
    (folder / "b.pdf").write_bytes(b"a letter")
    assert prepare(folder, CREDENTIAL, as_json=False) == USAGE
    told = capsys.readouterr().err
    assert told.count("of its own") == 2
    assert "check --url" in told
    assert "(b.pdf)" in told


async def test_another_batch_in_the_same_folder_is_told(tmp_path, capsys):
    folder = folder_of(tmp_path / "in", "a.pdf")
    out, key = tmp_path / "out", tmp_path / "key"
    out.mkdir()
    key.write_text("k")
    digests = [str(one) for one in order_of(folder).digests]
    kept = {"batch": "b", "activation": "a.b.c", "documents": digests, "credential": CREDENTIAL}
    kept["level"] = BaselineLevel.B.value
    other = str(Digest.of(b"another"))
    for changed, said in (
        ({"documents": [other]}, "other documents"),
        ({"level": BaselineLevel.T.value}, "another --credential or --level"),
        ({"activation": None, "documents": None}, "other documents"),
        ([], "damaged"),
    ):
        (out / "batch.json").write_text(json.dumps(kept | changed if changed else changed))
        assert await sign(folder, out, "http://127.0.0.1:1", key, CREDENTIAL, key, BaselineLevel.B) == USAGE
        assert said in capsys.readouterr().err
    (out / "batch.json").write_text(json.dumps(kept))
    assert await sign(folder, out, "http://127.0.0.1:1", key, CREDENTIAL, key, BaselineLevel.B) == FAILED
    assert "found no answer" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [[], {"place": "x"}, {"activation": 5}, {"signed": None}, {"path": 3}, {"size": []}])
def test_a_proof_that_is_none_is_told_and_is_no_fault(tmp_path, capsys, damage):
    """A stranger checks what strangers sent."""
    good = {"place": 0, "count": 1, "path": [], "size": 1, "activation": "e30.e30.e30"}
    good |= dict.fromkeys(("digest", "root", "signed"), Digest.of(b"a"))
    (tmp_path / "a.pdf").write_bytes(b"a")
    (tmp_path / "a.pdf.proof.json").write_text(json.dumps(good | damage if isinstance(damage, dict) else damage))
    assert check(tmp_path) == FAILED
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["", "another key", "no set"])
def test_with_the_keys_of_the_authority_its_signature_is_checked(tmp_path, capsys, wrong):
    key, other = (ECKey.generate_key("P-256", {"kid": "one"}) for _ in range(2))
    root = Tree([Digest.of(b"%PDF-1").raw]).root
    claims = json.dumps({"digest": root, "purpose": "sign-documents"})
    token = jws.serialize_compact({"alg": "ES256", "typ": TYPE, "kid": "one"}, claims, key)
    proof = {"place": 0, "count": 1, "path": [], "size": 6, "activation": token, "root": root}
    proof |= {"digest": Digest.of(b"%PDF-1"), "signed": Digest.of(b"%PDF-1 signed")}
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1 signed")
    (tmp_path / "a.pdf.proof.json").write_text(json.dumps(proof))
    held = (other if wrong == "another key" else key).as_dict(private=False)
    jwks = tmp_path / "jwks.json"
    jwks.write_text("[]" if wrong == "no set" else json.dumps({"keys": [held]}))
    assert check(tmp_path) == DONE
    assert "was not checked" in capsys.readouterr().out
    assert check(tmp_path, jwks) == {"": DONE, "another key": FAILED, "no set": USAGE}[wrong]
    assert "was not checked" not in capsys.readouterr().out


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
