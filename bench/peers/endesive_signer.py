"""endesive as a peer of `make bench-sign`, run by a Python of its own; the lines are those of `signers.mjs`."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

SEARCH = re.search


def _search(pattern: Any, text: str, *flags: Any) -> Any:
    """oscrypto 1.3.0 takes OpenSSL 3.0.10 and later for no OpenSSL: its pattern has one digit for the patch level."""
    if pattern == "\\b(\\d\\.\\d\\.\\d[a-z]*)\\b":
        pattern = r"\b(\d\.\d\.\d+[a-z]*)\b"
    return SEARCH(pattern, text, *flags)


re.search = _search  # type: ignore[assignment]
from endesive.pdf import cms  # noqa: E402

re.search = SEARCH


def main(folder: Path, tsa: str) -> None:
    """Sign what the lines on standard input say."""
    key, certificate, others = pkcs12.load_key_and_certificates((folder / "signer.p12").read_bytes(), b"bench")
    moment = time.strftime("D:%Y%m%d%H%M%S+00'00'", time.gmtime())
    said = {"aligned": 16384, "sigflags": 3, "contact": "-", "location": "-", "signingdate": moment, "reason": "bench"}

    def sign(data: bytes, level: str) -> bytes:
        options = {"tspurl": tsa} if level == "B-T" else {}
        return data + cms.sign(data, dict(said), key, certificate, others, "sha256", **options)

    for line in sys.stdin:
        _, level, warm, often, source, target = line.split()
        try:
            if level == "B-LTA":
                raise NotImplementedError("no PAdES document timestamps here")
            if isinstance(key, ec.EllipticCurvePrivateKey):
                raise NotImplementedError("it names RSA as the algorithm of an elliptic curve's signature")
            data = Path(source).read_bytes()
            until = time.monotonic() + float(warm)
            signed = sign(data, level)
            while time.monotonic() < until:
                signed = sign(data, level)
            before = time.process_time()
            for _ in range(int(often)):
                signed = sign(data, level)
            spent = (time.process_time() - before) * 1000 / int(often)
            Path(target).write_bytes(signed)
            print(spent, flush=True)
        except Exception as fault:  # noqa: BLE001 - whatever a peer raises is its answer
            print("error", type(fault).__name__, str(fault).split("\n")[0], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
