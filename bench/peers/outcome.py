# mypy: allow-untyped-calls
"""Did a peer do the work that it is measured for? pyHanko reads its output once, outside of what is timed."""

from __future__ import annotations

from io import BytesIO

from asn1crypto import pem, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from tools.real.child import NotHere


async def differences(signed: bytes, level: str, root: bytes) -> str:
    """What sets the file apart from PAdES though its signature is valid; empty if the work is equal.

    Raises:
        NotHere: no valid signature by a certificate below `root` (PEM), or what the level asks for is not in the file.
    """
    try:
        reader = PdfFileReader(BytesIO(signed))
        signatures, stamps = reader.embedded_regular_signatures, reader.embedded_timestamp_signatures
        if len(signatures) != 1:
            raise _failed(f"{len(signatures)} signatures", "one signature")
        trusted = x509.Certificate.load(pem.unarmor(root)[2])
        context = ValidationContext(trust_roots=[trusted], allow_fetching=False)
        status = await async_validate_pdf_signature(signatures[0], signer_validation_context=context)
        stamp = status.timestamp_validity
        attributes = {one["type"].native for one in signatures[0].signer_info["signed_attrs"]}
        kind = str(signatures[0].sig_object["/SubFilter"])
    except NotHere:
        raise
    except Exception as fault:  # whatever pyHanko says of a peer's file is the answer
        raise _failed(f"{type(fault).__name__}: {fault}", "a signature that can be read") from fault
    if not (status.intact and status.valid and status.trusted):
        raise _failed(status.summary(), "a valid signature")
    if level != "B-B" and (stamp is None or not (stamp.intact and stamp.valid and stamp.trusted)):
        raise _failed("no valid timestamp of the signature", "the timestamp that the level asks for")
    if level == "B-LTA" and not ("/DSS" in reader.root and stamps):
        raise _failed("no DSS or no document timestamp", "both, as the level asks")
    found = []
    if kind != "/ETSI.CAdES.detached":
        found.append(f"SubFilter {kind.removeprefix('/')}")
    if "signing_certificate_v2" not in attributes:
        found.append("no signing-certificate-v2")
    return ", ".join(found)


def _failed(found: str, expected: str) -> NotHere:
    return NotHere(f"signed, but: {found}", expected, "look at the peer's output")
