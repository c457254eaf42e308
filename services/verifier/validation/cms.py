"""A CMS SignedData read from its bytes: signer's certificate, digest, signature, ESS attribute (RFC 5652, 5035).

Signed attributes are hashed as they stand in the file: a good signature must not be called bad for its encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from domain import trust
from services.verifier.validation import names
from services.verifier.validation.algorithms import (
    PSS,
    CryptoFault,
    Scheme,
    digest_name,
    digest_of,
    digest_size,
    same,
    scheme_of,
    verifies,
)
from services.verifier.validation.certificates import Certificate, read_certificate
from services.verifier.validation.der import (
    OCTET_STRING,
    SEQUENCE,
    SET,
    Malformed,
    Node,
    canonical,
    dotted,
    encoded,
    oid,
    parse,
)

SIGNED_DATA, DATA, TST_INFO = oid("1.2.840.113549.1.7.2"), oid("1.2.840.113549.1.7.1"), oid("1.2.840.113549.1.9.16.1.4")
CONTENT_TYPE, MESSAGE_DIGEST = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4")
SIGNING_TIME = oid("1.2.840.113549.1.9.5")
SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2 = oid("1.2.840.113549.1.9.16.2.12"), oid("1.2.840.113549.1.9.16.2.47")
SIGNATURE_TIMESTAMP, CONTENT_TIMESTAMP = oid("1.2.840.113549.1.9.16.2.14"), oid("1.2.840.113549.1.9.16.2.20")
_ADOBE_REVOCATION = oid("1.2.840.113583.1.1.8")
_CERTIFICATE_VALUES, _REVOCATION_VALUES = oid("1.2.840.113549.1.9.16.2.23"), oid("1.2.840.113549.1.9.16.2.24")
_OCSP_RESPONSES = frozenset({oid("1.3.6.1.5.5.7.16.2"), oid("1.3.6.1.5.5.7.48.1.1")})
MOST_CERTIFICATES = 500
MOST_TOKENS = 20

Attributes = dict[bytes, list[Node]]
"""Attribute values by type."""


class CmsFault(Exception):
    """The CMS object cannot be used; `reason` is a kebab-case name, `detail` fills its sentence."""

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass
class Cms:
    """One SignedData with one signer."""

    sid: Node
    """Whom the SignerInfo names: issuer and serial, or a key identifier (RFC 5652 clause 5.3)."""
    certificates: list[Certificate]
    content_type: bytes
    encapsulated: bytes | None
    digest_algorithm: str
    scheme: Scheme
    value: bytes
    """The signature value."""
    attributes: Attributes
    """Signed attributes."""
    signed_attributes: Node | None
    """Their SET under its implicit tag, as it stands."""
    unsigned: Attributes
    unsigned_fault: bool
    """The unsigned attributes, where a signature timestamp would be, cannot be read."""
    signer: Certificate | None = None
    revocation: list[Node] = field(default_factory=list)
    """The members of the `crls` field."""

    @cached_property
    def message_digest(self) -> bytes | None:
        """The value of the message-digest attribute, when there is exactly one (RFC 5652 clause 11.2)."""
        values = self.attributes.get(MESSAGE_DIGEST, [])
        try:
            return values[0].octets() if len(values) == 1 else None
        except Malformed:
            return None

    @cached_property
    def states_its_content_type(self) -> bool:
        """Whether the one content-type attribute names the content's type (RFC 5652 clause 11.1)."""
        values = self.attributes.get(CONTENT_TYPE, [])
        try:
            return len(values) == 1 and values[0].oid() == self.content_type
        except Malformed:
            return False

    @cached_property
    def signing_time(self) -> datetime | None:
        """The signing-time attribute, which PAdES does not allow (EN 319 142-1 clause 6.3)."""
        values = self.attributes.get(SIGNING_TIME, [])
        try:
            return values[0].time() if values else None
        except Malformed:
            return None

    @cached_property
    def ess_fault(self) -> str | None:
        """Why the ESS signing-certificate attribute does not bind the signer's certificate; none if it does."""
        return _ess_fault(self, self.signer)

    def adopt(self, candidates: Iterable[Certificate]) -> None:
        """Take the signer's certificate from elsewhere, where it is named and bound by its digest (RFC 5035).

        Raises:
            Malformed: the SignerInfo names nobody.
        """
        if self.signer is None:
            self.signer = next(
                (each for each in candidates if _named(self.sid, each) and _ess_fault(self, each) is None), None
            )

    def fits(self, content: bytes | None = None) -> bool:
        """Whether the signature value fits the signed attributes (or `content`, without any) under the signer's key.

        Raises:
            CmsFault: there is no signer's certificate.
            CryptoFault: its key or the algorithm is not known, or they do not belong together.
        """
        if self.signer is None:
            raise CmsFault("no-signing-certificate")
        return _fits(self, self.signer, content)

    @cached_property
    def tokens(self) -> list[Cms | CmsFault]:
        """The signature timestamp tokens among the unsigned attributes (RFC 3161 appendix A)."""
        return [_token(value) for value in self.unsigned.get(SIGNATURE_TIMESTAMP, [])[:MOST_TOKENS]]

    @cached_property
    def content_tokens(self) -> list[Cms | CmsFault]:
        """The content timestamp tokens among the signed attributes (EN 319 122-1 clause 5.2.8)."""
        return [_token(value) for value in self.attributes.get(CONTENT_TIMESTAMP, [])[:MOST_TOKENS]]

    def algorithms(self) -> list[trust.Acceptance]:
        """How the digest, the scheme with its parameters and the signer's key stand, whatever the time."""
        each = [trust.digest(self.digest_algorithm), *acceptances(self.scheme)]
        if self.signer is not None:
            each.append(self.signer.key)
        return each

    def brought(self) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """(certificates, OCSP responses, CRLs) beside the `certificates` field; what cannot be read brings nothing."""
        certificates: list[bytes] = []
        ocsps: list[bytes] = []
        crls: list[bytes] = []
        for node in self.revocation:
            try:
                if node.tag == SEQUENCE:
                    crls.append(node.raw)
                elif node.tag == 0xA1 and node.kids()[0].oid() in _OCSP_RESPONSES:
                    ocsps.append(node.kids()[1].raw)
            except (Malformed, IndexError):
                continue
        for attribute, listed, answered in (
            (self.attributes.get(_ADOBE_REVOCATION, []), 0xA0, 0xA1),
            (self.unsigned.get(_ADOBE_REVOCATION, []), 0xA0, 0xA1),
            (self.unsigned.get(_REVOCATION_VALUES, []), 0xA0, 0xA1),
        ):
            for value in attribute:
                crls += _members(value, listed)
                ocsps += _members(value, answered)
        for value in self.unsigned.get(_CERTIFICATE_VALUES, []):
            try:
                certificates += [kid.raw for kid in value.sequence()]
            except Malformed:
                continue
        return certificates, ocsps, crls


def _token(value: Node) -> Cms | CmsFault:
    try:
        return read(value.raw)
    except CmsFault as fault:
        return fault


def read(raw: bytes) -> Cms:
    """Parse a DER (or BER) ContentInfo, ignoring the zero padding after it.

    Raises:
        CmsFault: it is not a SignedData with exactly one signer.
    """
    if not raw.strip(b"\0"):
        raise CmsFault("contents-empty")
    try:
        parts = parse(raw, SEQUENCE).sequence(2)
        if parts[0].oid() != SIGNED_DATA:
            raise CmsFault("not-signed-data", found=dotted(parts[0].oid()))
        return _signed_data(parts[1].only())
    except Malformed as fault:
        raise CmsFault("cms-unreadable", fault=fault.reason) from fault


def _signed_data(node: Node) -> Cms:
    fields = node.sequence(4)
    certificates: list[Certificate] = []
    revocation: list[Node] = []
    infos: list[Node] | None = None
    content = fields[2].sequence(1)
    for part in fields[3:]:
        if part.tag == 0xA0:
            certificates = list(_certificates(part))
        elif part.tag == 0xA1:
            revocation = part.kids()
        elif part.tag == SET:
            infos = part.kids()
    if infos is None or len(infos) != 1:
        raise CmsFault("not-one-signer", found=str(len(infos or ())))
    found = _signer_info(infos[0], certificates)
    found.revocation = revocation
    found.content_type = content[0].oid()
    found.encapsulated = _encapsulated(content[1].only()) if len(content) > 1 else None
    return found


def _encapsulated(node: Node) -> bytes:
    """The content octets; PKCS#7 allows any type there, of which the whole is taken (RFC 5652 clause 5.2.1)."""
    return node.octets() if node.tag | 0x20 == OCTET_STRING | 0x20 else node.raw


def _certificates(node: Node) -> Iterator[Certificate]:
    """Plain certificates only: attribute certificates and other formats sign nothing here (RFC 5652 10.2.3)."""
    for number, choice in enumerate(node.kids()):
        if choice.tag != SEQUENCE or number >= MOST_CERTIFICATES:
            continue
        try:
            yield read_certificate(choice.raw)
        except Malformed:
            continue


def _signer_info(node: Node, certificates: list[Certificate]) -> Cms:
    fields = node.sequence(5)
    sid, digest = fields[1], fields[2]
    at = 3
    signed = fields[at] if fields[at].tag == 0xA0 else None
    at += signed is not None
    if len(fields) < at + 2:
        raise Malformed("signer-info-cut-off")
    algorithm, value = fields[at], fields[at + 1]
    unsigned: Attributes = {}
    fault = False
    for part in fields[at + 2 :]:
        try:
            unsigned = _attributes(part) if part.tag == 0xA1 else unsigned
        except Malformed:
            # A damaged timestamp does not make the signature bad, only unproven.
            fault = True
    attributes = _attributes(signed) if signed is not None else {}
    found = Cms(
        sid=sid,
        certificates=certificates,
        content_type=b"",
        encapsulated=None,
        digest_algorithm=digest_name(digest.sequence(1)[0].oid()),
        scheme=scheme_of(algorithm.raw),
        value=value.octets(),
        attributes=attributes,
        signed_attributes=signed if attributes else None,
        unsigned=unsigned,
        unsigned_fault=fault,
    )
    found.signer = _signer(found)
    return found


def _attributes(node: Node) -> Attributes:
    found: Attributes = {}
    for attribute in node.kids():
        kind, values = attribute.sequence(2)[:2]
        if values.tag != SET:
            raise Malformed("no-set")
        found.setdefault(kind.oid(), []).extend(values.kids())
    return found


def _signer(found: Cms) -> Certificate | None:
    """The certificate that the SignerInfo names among its own (certificate confusion).

    When several fit, the one that ESS binds; when none is bound, the one whose key fits; else the first.
    """
    fitting = [each for each in found.certificates if _named(found.sid, each)]
    bound = [each for each in fitting if _ess_fault(found, each) is None]
    if len(fitting) < 2 or bound:
        return next(iter(bound or fitting), None)
    return next((each for each in fitting if _could_fit(found, each)), fitting[0])


def _named(sid: Node, certificate: Certificate) -> bool:
    if sid.tag == SEQUENCE:
        issuer, serial = sid.sequence(2)[:2]
        return certificate.serial == serial.integer() and names.equal(certificate.issuer, issuer.raw)
    return certificate.subject_key == sid.implicit_octets()


def _could_fit(found: Cms, certificate: Certificate) -> bool:
    try:
        return _fits(found, certificate, None)
    except CryptoFault:
        return False


def _ess_fault(found: Cms, signer: Certificate | None) -> str | None:
    """RFC 5035 clause 5.4: the first certificate named is the signer's, by hash and, where given, issuer and serial."""
    v2 = found.attributes.get(SIGNING_CERTIFICATE_V2, [])
    v1 = found.attributes.get(SIGNING_CERTIFICATE, [])
    if not v1 and not v2:
        return "ess-missing"
    if len(v1) > 1 or len(v2) > 1:
        return "ess-repeated"
    if signer is None:
        return "no-signing-certificate"
    try:
        for value, default in (*((one, "sha256") for one in v2), *((one, "sha1") for one in v1)):
            if not _binds(value.sequence(1)[0].sequence(1)[0], default, signer):
                return "ess-other-certificate"
    except Malformed:
        return "ess-unreadable"
    return None


def _binds(identifier: Node, default: str, signer: Certificate) -> bool:
    parts = identifier.sequence(1)
    name = default
    if parts[0].tag == SEQUENCE:
        name, parts = digest_name(parts[0].sequence(1)[0].oid()), parts[1:]
    if not parts or not same(digest_of(name, signer.der), parts[0].octets()):
        return False
    if len(parts) < 2:
        return True
    issuers, serial = parts[1].sequence(2)[:2]
    named = [each.value for each in names.general_names(issuers) if each.choice == names.DIRECTORY]
    return serial.integer() == signer.serial and (not named or any(names.equal(each, signer.issuer) for each in named))


def _fits(found: Cms, signer: Certificate, content: bytes | None) -> bool:
    attributes = found.signed_attributes
    if attributes is None:
        if content is None:
            return False
        return verifies(signer.spki, found.scheme, found.value, content, found.digest_algorithm)
    data = encoded(SET, attributes.contents)
    if verifies(signer.spki, found.scheme, found.value, data, found.digest_algorithm):
        return True
    # RFC 5652 clause 5.4: the signature is over the DER encoding, however the attributes were sent.
    try:
        strict = canonical(parse(data))
    except Malformed:
        return False
    return strict != data and verifies(signer.spki, found.scheme, found.value, strict, found.digest_algorithm)


def acceptances(scheme: Scheme) -> list[trust.Acceptance]:
    """How a signature scheme, its digest and its parameters stand, whatever the time."""
    each = [trust.scheme(scheme.family)]
    if scheme.digest is not None:
        each.append(trust.digest(scheme.digest))
        if scheme.name == PSS:
            size = digest_size(scheme.digest)
            each.append(trust.pss(scheme.digest, scheme.mgf_digest or "", scheme.salt, size, scheme.trailer))
    return each


def _members(value: Node, tag: int) -> list[bytes]:
    try:
        return [kid.raw for part in value.sequence() if part.tag == tag for kid in part.only().sequence()]
    except Malformed:
        return []
