"""The self-check before release: what was written is read back from its octets and must be what was ordered.

Nothing the writer knows is believed but the digest of the base, which it took from the octets themselves, and which
timestamps it was given.
"""

from __future__ import annotations

import hashlib
import re
from binascii import unhexlify
from collections.abc import Mapping
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from events.values import BaselineLevel
from services.signer.adapters.der import OCTETS, SEQUENCE, SET, Span, span, within
from services.signer.adapters.fast import cms
from services.signer.adapters.fast.form import Catalog
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.store import KINDS
from services.signer.adapters.fast.syntax import (
    Declined,
    Dictionary,
    Octets,
    Ref,
    dictionary_at,
    name_of,
    reference,
)
from services.signer.adapters.release import LASTING, TIMED, not_ours
from services.signer.model import Passed, SigningAlgorithm

PREHASHED = Prehashed(hashes.SHA256())
ECDSA = ec.ECDSA(PREHASHED)
_RANGES = re.compile(rb"\[0 ([0-9]{1,10}) ([0-9]{1,10}) ([0-9]{1,10})\]")
"""/ByteRange as the writer writes it."""


class _Signature:
    """A signature dictionary as it stands in the file: its `/Contents`, what its ranges say, where it begins."""

    __slots__ = ("begins", "contents", "digest", "end", "said")

    def __init__(self, said: Dictionary, contents: bytes, digest: bytes, begins: int, end: int) -> None:
        self.said = said
        self.contents = contents
        self.digest = digest
        self.begins = begins
        self.end = end


def check(
    output: Octets,
    base: Passed,
    *,
    field: str,
    certificate: bytes,
    algorithm: SigningAlgorithm,
    level: BaselineLevel,
    tokens: Mapping[bytes, bytes],
) -> None:
    """Check a file whose first octets are those that `base` saw: one sound signature of ours, at this level.

    `tokens` are timestamps (DER) that were checked when they came, by the digest that each is over.

    Raises:
        Refused: `self-check`, with what was found.
    """
    try:
        file = File.open(output)
        catalog = Catalog.of(file)
        fields = _fields(file, catalog)
        signature = _read(file, base, fields[field] if field in fields else _missing())
        if signature.begins < base.size:
            raise not_ours("a signature within the input", "one after it")
        token = _check_signature(signature, certificate, algorithm)
        end = signature.end
        if level in TIMED:
            if token is None:
                raise not_ours("no signature timestamp", "one (PAdES-BASELINE-T)")
            if tokens.get(hashlib.sha256(token[1]).digest()) != token[0]:
                raise not_ours("another signature timestamp", "the one over this signature (EN 319 122-1 clause 5.3)")
        if level in LASTING:
            _check_store(file, catalog, signature)
            end = file.size
        if level is BaselineLevel.LTA:
            closing = _read(file, base, fields[next(reversed(fields))])
            if closing.said.get(b"/SubFilter") != b"/ETSI.RFC3161":
                raise not_ours("no document timestamp at the end", "one (PAdES-BASELINE-LTA)")
            held = tokens.get(closing.digest, b"")
            if not held or closing.contents != held.ljust(len(closing.contents), b"\x00"):
                raise not_ours("another document timestamp", "the one over these octets (EN 319 142-1 clause 5.4.3)")
            end = closing.end
        if end != file.size:
            raise not_ours("octets after the last signed range", "ranges over the whole file")
    except (Declined, ValueError, IndexError) as fault:
        raise not_ours(f"output that cannot be read back ({type(fault).__name__})", "a sound PDF") from fault


def _fields(file: File, catalog: Catalog) -> dict[str, Dictionary]:
    """The fields at the top of the form, in their order."""
    form = file.dictionary(catalog.content.get(b"/AcroForm"))
    found: dict[str, Dictionary] = {}
    for item in file.array(form.get(b"/Fields")) if form is not None else []:
        ref = reference(item)
        field = file.read(ref) if ref is not None else None
        told = field.get(b"/T") if field is not None else None
        name = name_of(file.follow(told) or b"") if told is not None else None
        if field is None or name is None or name in found:
            raise not_ours("fields that cannot be told apart", "each with a name of its own")
        found[name] = field
    return found


def _read(file: File, base: Passed, field: Dictionary) -> _Signature:
    """The field's signature; its ranges cover all but `/Contents`, from the first octet on."""
    data, begins = file.at(reference(field.get(b"/V")) or _missing())
    said, ends = dictionary_at(data, begins)
    begins = ends - len(said.text)
    told = _RANGES.fullmatch(said.get(b"/ByteRange") or b"")
    start, stop = said.spans.get(b"/Contents", (0, 0))
    start, stop = begins + start, begins + stop
    if data is not file.data or told is None or int(told[1]) != start or int(told[2]) != stop:
        raise not_ours("byte ranges that do not leave out /Contents alone", "ranges over everything but /Contents")
    length = int(told[3])
    hole = file.data[start:stop]
    if hole[:1] != b"<" or hole[-1:] != b">" or not base.size <= start < stop <= stop + length <= file.size:
        raise not_ours("byte ranges that are not those of this file", "two ranges around /Contents")
    digest = base.fork().take(file.data[base.size : start]).take(file.data[stop : stop + length]).digest()
    return _Signature(said, unhexlify(hole[1:-1]), digest, begins, stop + length)


def _check_signature(
    signature: _Signature, certificate: bytes, algorithm: SigningAlgorithm
) -> tuple[bytes, bytes] | None:
    """Check the CMS; the timestamp token in it and the signature value it stamps, if there is a token."""
    said = signature.said
    if said.get(b"/SubFilter") != b"/ETSI.CAdES.detached" or said.get(b"/M") is None or b"/Cert" in said.spans:
        raise not_ours("a signature dictionary that is not PAdES", "SubFilter ETSI.CAdES.detached, /M and no /Cert")
    der = signature.contents
    signed = _signed_data(der)
    if der[signed[2][2] : signed[2][3]] != cms.DATA:
        raise not_ours("content in the CMS", "detached data (EN 319 142-1 clause 6.3)")
    certificates = next(one for one in signed if one[0] == cms.CONTEXT_0)
    if all(der[one[1] : one[3]] != certificate for one in within(der, certificates[2], certificates[3])):
        raise not_ours("a CMS without the signer's certificate", "the certificate inside")
    (info,) = within(der, signed[-1][2], signed[-1][3])
    parts = within(der, info[2], info[3])
    attributes = _attributes(der, parts[3])
    if cms.SIGNING_TIME in attributes:
        raise not_ours("a signing-time attribute", "none (EN 319 142-1 clause 6.3)")
    if attributes.get(cms.CONTENT_TYPE) != cms.DATA:
        raise not_ours("a content-type attribute that is not data", "id-data")
    if attributes.get(cms.MESSAGE_DIGEST) != b"\x04\x20" + signature.digest:
        raise not_ours("a message digest that is not the file's", "the file's")
    if _named(attributes.get(cms.SIGNING_CERTIFICATE_V2, b"")) != hashlib.sha256(certificate).digest():
        raise not_ours("signing-certificate-v2 of another certificate", "the ordered certificate's")
    if der[parts[4][1] : parts[4][3]] != cms.algorithm_identifier(algorithm) or parts[5][0] != OCTETS:
        raise not_ours("a signature by another algorithm", f"one by {algorithm.value}")
    value = der[parts[5][2] : parts[5][3]]
    try:
        _verify(certificate, algorithm, value, hashlib.sha256(b"\x31" + der[parts[3][1] + 1 : parts[3][3]]).digest())
    except (InvalidSignature, TypeError) as fault:
        raise not_ours("a signature that this certificate does not verify", "the key the certificate names") from fault
    unsigned = _attributes(der, parts[6]) if len(parts) > 6 else {}
    token = unsigned.get(cms.TIMESTAMP_TOKEN)
    return (token, value) if token is not None else None


def _verify(certificate: bytes, algorithm: SigningAlgorithm, value: bytes, digest: bytes) -> None:
    key = cms.signatory(certificate).key
    if isinstance(key, rsa.RSAPublicKey) and algorithm.is_rsa:
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if algorithm.is_pss else padding.PKCS1v15()
        key.verify(value, digest, scheme, PREHASHED)
    elif isinstance(key, ec.EllipticCurvePublicKey) and not algorithm.is_rsa:
        key.verify(value, digest, ECDSA)
    else:
        raise InvalidSignature


def _signed_data(der: bytes) -> list[Span]:
    """The parts of a SignedData; zeros after it are the padding of `/Contents`."""
    outer = span(der, 0, len(der))
    kind, content = within(der, outer[2], outer[3])
    if (
        outer[0] != SEQUENCE
        or der[kind[1] : kind[3]] != cms.SIGNED_DATA
        or der[outer[3] :] != bytes(len(der) - outer[3])
    ):
        raise not_ours("/Contents that is no SignedData", "one (RFC 5652)")
    (signed,) = within(der, content[2], content[3])
    parts = within(der, signed[2], signed[3])
    if parts[-1][0] != SET:
        raise not_ours("a CMS without signers", "one signer")
    return parts


def _attributes(der: bytes, holder: Span) -> dict[bytes, bytes]:
    """Each attribute's type (DER) and its one value (DER)."""
    return {kind: der[value[1] : value[3]] for kind, value in cms.attributes(der, holder).items()}


def _named(attribute: bytes) -> bytes:
    """The certificate hash in SigningCertificateV2 (RFC 5035 clause 3): SHA-256, the default, of one certificate."""
    place = span(attribute, 0, len(attribute))
    for _ in range(3):
        place = within(attribute, place[2], place[3])[0]
    return attribute[place[2] : place[3]] if place[0] == OCTETS else b""


def _check_store(file: File, catalog: Catalog, signature: _Signature) -> None:
    """A store with status material, and something in it, was written after the signature (EN 319 142-1 clause 5.4)."""
    store = reference(catalog.content.get(b"/DSS"))
    held = file.read(store) if store is not None else None
    if (
        store is None
        or held is None
        or not (file.array(held.get(b"/OCSPs")) or file.array(held.get(b"/CRLs")))
        or not _after(file, signature, store)
        or not any(_after(file, signature, reference(one)) for kind in KINDS for one in file.array(held.get(kind))[-1:])
    ):
        raise not_ours("no validation data for this signature", "a DSS with it after it (PAdES-BASELINE-LT)")


def _after(file: File, signature: _Signature, ref: Ref | None) -> bool:
    place = file.where(ref) if ref is not None else None
    return place is not None and place.within is None and place.offset >= signature.end


def _missing() -> NoReturn:
    raise not_ours("no signature in the slot's field", "one")
