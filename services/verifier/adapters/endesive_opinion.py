"""Third opinion: endesive on digest and value of plain signatures, never on trust; silent where it is not installed.

endesive decides trust with web roots and a library that does not load with OpenSSL 3.0.10 and later; nothing of that is
wanted here, so that library is not installed and an empty module stands in its place while endesive is imported.
"""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

from services.verifier.bytes_rules import RawSignature, raw_signatures
from services.verifier.model import Integrity, Opinion, Scope

ENGINE = "endesive"
_UNWANTED = ("certvalidator", "certifi")
"""What endesive imports for trust alone: path validation of 2016 (through oscrypto), and the web's roots."""


def _verifier() -> tuple[str | None, Any]:
    """(version, verifier) of endesive; nothing where it is not installed."""
    try:
        found = metadata.version(ENGINE)
    except metadata.PackageNotFoundError:
        return None, None
    before = {name: sys.modules.get(name) for name in _UNWANTED}
    sys.modules.update({name: ModuleType(name) for name in _UNWANTED})
    try:
        kind = importlib.import_module("endesive.verifier").SignatureVerifier
    except (ImportError, AttributeError):
        return None, None
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    # Made without its initialiser, which reads the web's roots: no trust is ever asked of it.
    return found, kind.__new__(kind)


VERSION, _VERIFIER = _verifier()
"""endesive's version; none where it is not installed."""


def opinions(data: bytes) -> tuple[Opinion, ...]:
    """What endesive says of each signature in plain sight of a PDF; nothing where it is not installed. Never raises."""
    if _VERIFIER is None:
        return ()
    return tuple(one for one in (_opinion(data, raw) for raw in raw_signatures(data)) if one is not None)


def _opinion(data: bytes, raw: RawSignature) -> Opinion | None:
    said = Opinion(engine=ENGINE, scope=Scope.VALUE, signed_octets=raw.end)
    _, length, start, rest = raw.byte_range
    try:
        from asn1crypto import cms

        signed = cms.ContentInfo.load(raw.contents)["content"]
        if signed["encap_content_info"]["content_type"].native == "tst_info":
            return None
        if signed["encap_content_info"]["content"].native is not None:
            # It digests the file, never the content inside (adbe.pkcs7.sha1 holds a digest of the file there).
            return said.model_copy(update={"reason": "content-encapsulated"})
        own = signed["signer_infos"][0]["digest_algorithm"]["algorithm"].native
        if [each["algorithm"].native for each in signed["digest_algorithms"]][:1] != [own]:
            return said.model_copy(update={"reason": "envelope-digest-algorithm"})
        found = _VERIFIER.decompose_signed_data(raw.contents, data[:length] + data[start : start + rest])
    except Exception as fault:  # noqa: BLE001 - whatever it raises, it cannot say
        return said.model_copy(update={"reason": "exception", "detail": {"fault": type(fault).__name__}})
    if found.hashok and found.signatureok:
        return said.model_copy(update={"integrity": Integrity.INTACT})
    reason = "value-does-not-fit" if found.hashok else "digest-differs"
    return said.model_copy(update={"integrity": Integrity.BROKEN, "reason": reason})
