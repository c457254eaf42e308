"""Others who judge our files: an outside validator, poppler, pyHanko's AdES validation; all offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed
from pyhanko.sign.validation.ades import ades_lta_validation
from pyhanko.sign.validation.policy_decl import (
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager

SHARED = Path(os.environ.get("ANTIN_SHARED", Path(__file__).parents[3] / "shared"))
JUDGE = SHARED / "judge" / "judge.sh"


def judge(folder: Path, anchors: bytes, files: list[Path], *, offline: bool = True) -> dict[str, dict]:
    """The outside judge's line for each file's name, one process for all; a skip where it is absent.

    `offline` leaves it with what is in the files; else it may ask servers on loopback.
    """
    if not JUDGE.exists() or shutil.which("java") is None:
        pytest.skip(f"no outside judge at {JUDGE}")
    (folder / "anchors").mkdir(exist_ok=True)
    (folder / "anchors" / "root.pem").write_bytes(anchors)
    command = [str(JUDGE), "--anchors", str(folder / "anchors"), "--stdin"]
    if offline:
        command.append("--no-network")
    paths = "".join(f"{file.resolve()}\n" for file in files)
    done = subprocess.run(command, input=paths, capture_output=True, text=True, check=False, timeout=600)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(files), done.stderr[-500:]
    return {Path(line["file"]).name: line for line in lines}


async def passes_at_pyhanko(pdf: bytes, root: bytes) -> int:
    """Every signature passes AdES LTA validation with the file's own material alone; how many there are."""
    anchor = CertTrustAnchor(asn1_x509.Certificate.load(root))
    spec = PdfSignatureValidationSpec(
        SignatureValidationSpec(
            cert_validation_policy=CertValidationPolicySpec(
                trust_manager=SimpleTrustManager.build([anchor]),
                revinfo_policy=CertRevTrustPolicy(REQUIRE_REVINFO),
            ),
            revinfo_gathering_policy=RevocationInfoGatheringSpec(
                online_fetching_rule=RevinfoOnlineFetchingRule.LOCAL_ONLY
            ),
        )
    )
    # pyHanko validates signatures in hybrid files only when it may read tolerantly.
    reader = PdfFileReader(BytesIO(pdf), strict=False)
    for signature in reader.embedded_regular_signatures:
        found = await ades_lta_validation(signature, spec)
        assert found.ades_subindic == AdESPassed.OK, (signature.field_name, found.ades_subindic, found.failure_msg)
    return len(reader.embedded_regular_signatures)


def poppler_says(file: Path) -> list[str]:
    """What poppler's pdfsig says of each signature and of what it covers; a skip where it is absent."""
    if shutil.which("pdfsig") is None:
        pytest.skip("no pdfsig (Debian package poppler-utils)")
    done = subprocess.run(["pdfsig", "-nocert", str(file)], capture_output=True, check=False, timeout=60)
    lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines()]
    return [line for line in lines if line.startswith(("- Signature Validation", "- Total document", "- Not total"))]


def poppler_calls_valid(file: Path) -> int:
    """How many signatures poppler's pdfsig calls valid; a skip where it is absent."""
    return sum("Signature is Valid." in line for line in poppler_says(file))
