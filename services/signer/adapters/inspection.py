# mypy: allow-untyped-calls
"""The self-check before release: what was written is read back and must be what was ordered."""

from __future__ import annotations

import hashlib
from typing import Any

from asn1crypto import algos, cms, tsp
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields

from events.errors import Refused
from events.values import BaselineLevel
from services.runtime import certificates
from services.signer.adapters import chains
from services.signer.adapters.documents import LIBRARY_FAULTS, open_reader
from services.signer.adapters.pages import look
from services.signer.adapters.release import LASTING, TIMED, not_ours


def inspect(output: bytes, base: bytes, *, field: str, certificate: bytes, level: BaselineLevel) -> None:
    """Check a signed file: our bytes first, one sound signature of ours by this certificate (DER), at this level.

    Raises:
        Refused: `self-check`, with what was found.
    """
    if not output.startswith(base) or len(output) <= len(base):
        raise not_ours("output that does not begin with the input", "the input unchanged, with additions")
    try:
        reader = _reopen(output)
        signatures = {name: value for name, value, _ in enumerate_sig_fields(reader) if value is not None}
        value = _signature_of(signatures, field)
        end = _check_signature(output, value, certificate, base)
        signed = _signed_data(value)
        if level in TIMED:
            _check_token(signed["signer_infos"][0])
        if level in LASTING:
            _check_store(reader, value)
        if level is BaselineLevel.LTA:
            end = _check_closing(output, signatures)
        if level not in LASTING and end != len(output):
            raise not_ours("bytes after the signed range", "a signature over the whole file")
        if level is BaselineLevel.LTA and end != len(output):
            raise not_ours("bytes after the document timestamp", "a document timestamp over the whole file")
    except LIBRARY_FAULTS as fault:
        raise not_ours(f"output that cannot be read back ({type(fault).__name__})", "a sound PDF") from fault


def _reopen(output: bytes) -> PdfFileReader:
    try:
        return open_reader(output)
    except Refused as fault:
        raise not_ours(f"output that cannot be read back: {fault.found}", "a sound PDF") from fault


def _signature_of(signatures: dict[str, Any], field: str) -> generic.DictionaryObject:
    value = signatures.get(field)
    value = value.get_object() if value is not None else None
    if not isinstance(value, generic.DictionaryObject):
        raise not_ours("no signature in the slot's field", "one")
    return value


def _ranges(output: bytes, value: generic.DictionaryObject) -> tuple[bytes, int, int]:
    """SHA-256 over the ranges, where the hole begins, where the ranges end; the hole is exactly `/Contents`."""
    start, first, second, length = (int(item) for item in value["/ByteRange"])
    contents = value.raw_get("/Contents")
    hole = output[first:second]
    if start != 0 or not 0 < first < second <= second + length <= len(output):
        raise not_ours("byte ranges that are not those of this file", "two ranges around /Contents")
    if hole[:1] != b"<" or hole[-1:] != b">" or bytes.fromhex(hole[1:-1].decode("ascii")) != bytes(contents):
        raise not_ours("a hole that is not /Contents alone", "ranges over everything but /Contents")
    state = hashlib.sha256(memoryview(output)[:first])
    state.update(memoryview(output)[second : second + length])
    return state.digest(), first, second + length


def _signed_data(value: generic.DictionaryObject) -> cms.SignedData:
    signed: cms.SignedData = cms.ContentInfo.load(bytes(value.raw_get("/Contents")))["content"]
    return signed


def _check_signature(output: bytes, value: generic.DictionaryObject, certificate: bytes, base: bytes) -> int:
    digest, begins, end = _ranges(output, value)
    if begins < len(base):
        raise not_ours("a signature within the input", "one after it")
    if look(value, "/SubFilter") != "/ETSI.CAdES.detached" or "/M" not in value or "/Cert" in value:
        raise not_ours("a signature dictionary that is not PAdES", "SubFilter ETSI.CAdES.detached, /M and no /Cert")
    signed = _signed_data(value)
    if len(signed["signer_infos"]) != 1 or signed["encap_content_info"]["content_type"].native != "data":
        raise not_ours("not one signer over detached data", "one (EN 319 142-1 clause 6.3)")
    signer = signed["signer_infos"][0]
    attributes = {item["type"].native: item["values"] for item in signer["signed_attrs"]}
    if "signing_time" in attributes:
        raise not_ours("a signing-time attribute", "none (EN 319 142-1 clause 6.3)")
    if attributes["content_type"][0].native != "data" or attributes["message_digest"][0].native != digest:
        raise not_ours("a message digest that is not the file's", "the file's")
    named = attributes["signing_certificate_v2"][0]["certs"][0]["cert_hash"].native
    if named != hashlib.sha256(certificate).digest():
        raise not_ours("signing-certificate-v2 of another certificate", "the ordered certificate's")
    if all(item.chosen.dump() != certificate for item in signed["certificates"]):
        raise not_ours("a CMS without the signer's certificate", "the certificate inside")
    try:
        chains.verify_signature(
            certificates.key_of(certificates.from_der(certificate)),
            signer["signature"].native,
            b"\x31" + signer["signed_attrs"].dump()[1:],
            algos.SignedDigestAlgorithm.load(signer["signature_algorithm"].dump()),
            "sha256",
        )
    except (InvalidSignature, UnsupportedAlgorithm) as fault:
        raise not_ours("a signature that this certificate does not verify", "the key the certificate names") from fault
    return end


def _check_token(signer: cms.SignerInfo) -> None:
    for attribute in signer["unsigned_attrs"]:
        if attribute["type"].native == "signature_time_stamp_token":
            _check_imprint(attribute["values"][0]["content"], hashlib.sha256(signer["signature"].native).digest())
            return
    raise not_ours("no signature timestamp", "one (PAdES-BASELINE-T)")


def _check_imprint(token: cms.SignedData, digest: bytes) -> None:
    info = tsp.TSTInfo.load(bytes(token["encap_content_info"]["content"]))
    if info["message_imprint"]["hashed_message"].native != digest:
        raise not_ours("a timestamp over something else", "one over these bytes")


def _check_store(reader: PdfFileReader, value: generic.DictionaryObject) -> None:
    store = look(reader.root, "/DSS", {})
    mark = "/" + hashlib.sha1(bytes(value.raw_get("/Contents"))).hexdigest().upper()  # noqa: S324 - a VRI key
    if mark not in look(store, "/VRI", {}) or not (look(store, "/OCSPs") or look(store, "/CRLs")):
        raise not_ours("no validation data for this signature", "a DSS with it (PAdES-BASELINE-LT)")


def _check_closing(output: bytes, signatures: dict[str, Any]) -> int:
    """Where the ranges of the last document timestamp end."""
    furthest = 0
    for item in signatures.values():
        value = item.get_object()
        if look(value, "/SubFilter") == "/ETSI.RFC3161":
            digest, _, end = _ranges(output, value)
            if end == len(output):
                _check_imprint(_signed_data(value), digest)
            furthest = max(furthest, end)
    return furthest
