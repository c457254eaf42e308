"""What `antin verify` prints and how it exits."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge, with_store

from services.verifier.cli import FAILED, PASSED, UNDETERMINED, UNUSABLE, USAGE, exit_code, verify


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Signed files of one root, whose status data are in the file."""
    forge, folder = Forge(), tmp_path_factory.mktemp("files")
    signer = forge.signer()
    signed = forge.sign(pdfs.minimal(), signer, timestamp="ok")
    (folder / "signed").mkdir()
    (folder / "signed" / "good.pdf").write_bytes(forge.stamp(with_store(signed, forge.evidence())))
    (folder / "tail.pdf").write_bytes(signed + b"\nx")
    (folder / "no-status.pdf").write_bytes(signed)
    (folder / "unsigned.pdf").write_bytes(pdfs.minimal())
    (folder / "not-a-pdf.pdf").write_bytes(b"hello")
    (folder / "anchors").mkdir()
    (folder / "anchors" / "root.cer").write_bytes(forge.world.root.der)
    (folder / "empty").mkdir()
    return folder


async def run(*paths: Path, anchors: Path | None = None, as_json: bool = False, tty: bool = False, **more):
    out, err = (Terminal() if tty else io.StringIO()), io.StringIO()
    code = await verify(list(paths), anchors=anchors, as_json=as_json, out=out, err=err, **more)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("name", "trusted", "code"),
    [
        ("signed/good.pdf", True, PASSED),
        ("signed/good.pdf", False, UNDETERMINED),
        ("tail.pdf", True, FAILED),
        ("no-status.pdf", True, UNDETERMINED),
        ("unsigned.pdf", True, UNUSABLE),
        ("not-a-pdf.pdf", True, UNUSABLE),
    ],
)
async def test_the_exit_code_says_what_the_file_is_worth(files, name, trusted, code):
    found, out, err = await run(files / name, anchors=files / "anchors" if trusted else None)
    assert (found, err) == (code, ""), out


async def test_one_json_object_a_line(files):
    code, out, _ = await run(files / "signed", files / "tail.pdf", anchors=files / "anchors", as_json=True)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == FAILED
    assert [line["integrity"] for line in lines] == ["intact", "changed"]
    assert [line["verdict"] for line in lines] == ["passed", "failed"]
    (one,) = lines[0]["signatures"]
    assert one["field"] == "buyer"
    assert one["indication"] == "TOTAL-PASSED"
    assert one["level"] == "PAdES-BASELINE-LTA"
    assert one["signer"] == "Nguyễn Thị Phương Thảo"
    assert one["trusted"] is True
    assert one["timestamp_trusted"] is True
    assert one["claimed_time"].endswith("Z")
    assert one["proven_time"].endswith("Z")
    assert {"revision", "page", "what", "allowed"} == set(one["changes"][0])
    assert all(change["allowed"] for change in one["changes"])
    assert lines[1]["signatures"][0]["changes"][0]["allowed"] is False
    assert set(lines[0]) >= {"file", "integrity", "verdict", "signatures", "findings"}


@pytest.mark.parametrize("tty", [True, False])
async def test_people_read_vietnamese_first_with_english_beside(files, tty):
    _, out, _ = await run(files / "signed" / "good.pdf", files / "tail.pdf", anchors=files / "anchors", tty=tty)
    assert out.index("Đạt") < out.index("Passed")
    assert "Không đạt" in out
    assert "GMT+7" in out


async def test_a_pipe_gets_no_control_codes(files):
    _, out, _ = await run(files / "tail.pdf", anchors=files / "anchors")
    assert "\x1b" not in out


async def test_no_color_is_respected(files, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    _, out, _ = await run(files / "tail.pdf", anchors=files / "anchors", tty=True)
    assert "\x1b[31m" not in out
    assert "\x1b[1;31m" not in out


@pytest.mark.parametrize(
    ("paths", "anchors"),
    [
        (["nothing-here.pdf"], None),
        (["empty"], None),
        (["signed/good.pdf"], "no-anchors"),
        (["signed/good.pdf"], "empty"),
    ],
)
async def test_wrong_usage_is_two_and_says_what_to_do(files, paths, anchors):
    code, out, err = await run(*(files / path for path in paths), anchors=files / anchors if anchors else None)
    assert (code, out) == (USAGE, "")
    assert "expected" in err


async def test_a_file_that_is_no_certificate_is_no_anchor(files):
    code, _, err = await run(files / "tail.pdf", anchors=files / "tail.pdf")
    assert code == USAGE
    assert "holds no certificate" in err


def test_of_several_files_the_worst_decides():
    assert exit_code([0, 3, 4, 1]) == 1
    assert exit_code([0, 3, 4]) == 4
    assert exit_code([0, 3]) == 3
    assert exit_code([0, 0]) == 0


@pytest.mark.parametrize("tty", [True, False])
@pytest.mark.parametrize(("lang", "there", "not_there"), [("vi", "Không đạt", "Failed"), ("en", "Failed", "Không đạt")])
async def test_one_language_when_one_is_asked_for(files, tty, lang, there, not_there):
    _, out, _ = await run(files / "tail.pdf", anchors=files / "anchors", tty=tty, lang=lang)
    assert there in out
    assert not_there not in out


async def test_a_report_of_each_file_is_kept_and_needs_no_other_file(files, tmp_path):
    kept = tmp_path / "deep" / "reports"
    code, _, err = await run(
        files / "signed", files / "tail.pdf", files / "not-a-pdf.pdf", anchors=files / "anchors", html=kept, lang="en"
    )
    assert code == FAILED
    assert "3" in err
    assert sorted(each.name for each in kept.iterdir()) == ["good.html", "not-a-pdf.html", "tail.html"]
    page = (kept / "good.html").read_text(encoding="utf-8")
    assert '<html lang="en">' in page
    assert str(files) not in page, "the folders of this machine are nobody's business"
    assert 'src="data:image/webp;base64,' in page
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|<script", page)
    assert "cannot be drawn" in (kept / "not-a-pdf.html").read_text(encoding="utf-8")


async def test_files_of_one_name_have_reports_of_their_own(files, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.pdf").write_bytes(pdfs.minimal())
    await run(tmp_path / "a", tmp_path / "b", html=tmp_path / "reports")
    assert sorted(each.name for each in (tmp_path / "reports").iterdir()) == ["x-2.html", "x.html"]


async def test_reports_that_cannot_be_written_are_wrong_usage(files, tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    code, out, err = await run(files / "tail.pdf", html=tmp_path / "taken")
    assert (code, out) == (USAGE, "")
    assert "--html" in err


async def test_a_pipe_is_no_file_to_judge(tmp_path):
    os.mkfifo(tmp_path / "pipe.pdf")
    code, _, err = await run(tmp_path / "pipe.pdf")
    assert code == USAGE
    assert "neither a file nor a folder" in err


async def test_a_folder_that_cannot_be_read_is_said_and_not_passed_over(files, tmp_path, monkeypatch):
    """A folder passed over in silence would be one whose files seem to have passed."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "x.pdf").write_bytes(pdfs.minimal())
    scan = os.scandir

    def refuse(place):
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    code, out, err = await run(tmp_path)
    assert (code, out) == (USAGE, "")
    assert "closed, which cannot be read (Permission denied)" in err


async def test_progress_is_shown_for_a_folder_at_a_terminal_only(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.pdf").write_bytes(b"%PDF-1.7")
    for err, shown in ((Terminal(), True), (io.StringIO(), False)):
        await verify([tmp_path], out=io.StringIO(), err=err, lang="en")
        assert ("verifying" in err.getvalue()) is shown
