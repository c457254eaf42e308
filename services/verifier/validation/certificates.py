"""X.509 certificates read from their bytes, lazily and tolerantly; whether one is good is for others to say.

Tolerated, because good signatures carry them: negative serial numbers and RSA moduli, odd times, unknown extensions.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cached_property, lru_cache

from domain import trust
from services.verifier.validation import names
from services.verifier.validation.algorithms import Scheme, key_acceptance, scheme_of
from services.verifier.validation.der import SEQUENCE, SET, Malformed, Node, dotted, encoded, oid, parse
from services.verifier.validation.names import GeneralName

BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE = oid("2.5.29.19"), oid("2.5.29.15"), oid("2.5.29.37")
SUBJECT_KEY, AUTHORITY_KEY, SUBJECT_ALTERNATIVE = oid("2.5.29.14"), oid("2.5.29.35"), oid("2.5.29.17")
POLICIES, POLICY_MAPPINGS = oid("2.5.29.32"), oid("2.5.29.33")
POLICY_CONSTRAINTS, INHIBIT_ANY_POLICY, NAME_CONSTRAINTS = oid("2.5.29.36"), oid("2.5.29.54"), oid("2.5.29.30")
CRL_POINTS, AUTHORITY_ACCESS, NO_CHECK = oid("2.5.29.31"), oid("1.3.6.1.5.5.7.1.1"), oid("1.3.6.1.5.5.7.48.1.5")
_OCSP = oid("1.3.6.1.5.5.7.48.1")

_USAGES = (
    "digital_signature",
    "non_repudiation",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_PURPOSES = {
    "1.3.6.1.5.5.7.3.1": "server_auth",
    "1.3.6.1.5.5.7.3.2": "client_auth",
    "1.3.6.1.5.5.7.3.3": "code_signing",
    "1.3.6.1.5.5.7.3.4": "email_protection",
    "1.3.6.1.5.5.7.3.8": "time_stamping",
    "1.3.6.1.5.5.7.3.9": "ocsp_signing",
    "1.3.6.1.5.5.7.3.36": "document_signing",
    "1.3.6.1.4.1.311.10.3.12": "microsoft_document_signing",
    "1.3.6.1.4.1.311.20.2.2": "microsoft_smart_card_logon",
    "1.2.840.113583.1.1.5": "adobe_authentic_documents_trust",
    "2.5.29.37.0": "any_extended_key_usage",
}
_PEM = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END", re.DOTALL)
MOST_ADDRESSES = 5
_USUAL_OCTETS = 8_192


class Certificate:
    """One certificate. `der` is as it stands in the file.

    Raises:
        Malformed: on making, when its outline cannot be read; a faulty extension shows when it is asked for.
    """

    def __init__(self, der: bytes) -> None:
        whole = parse(der, SEQUENCE)
        self.der = der if whole.stop == len(der) else der[: whole.stop]
        tbs, algorithm, value = whole.sequence(3)[:3]
        fields = tbs.sequence(6)
        at = 1 if fields[0].tag == 0xA0 else 0
        if len(fields) < at + 6:
            raise Malformed("certificate-cut-off")
        self.version = fields[0].only().integer() + 1 if at else 1
        serial, _, issuer, validity, subject, spki = fields[at : at + 6]
        self.tbs = tbs.raw
        self.serial = serial.integer()
        """Negative where the encoding says so."""
        self.serial_octets = serial.contents
        self.issuer = issuer.raw
        self.subject = subject.raw
        self.spki = spki.raw
        self.not_before, self.not_after = (moment.time() for moment in validity.sequence(2)[:2])
        if issuer.tag != SEQUENCE or subject.tag != SEQUENCE or spki.tag != SEQUENCE:
            raise Malformed("certificate-outline")
        self._algorithm = algorithm.raw
        self._value = value
        self._rest = fields[at + 6 :]
        self.sha256 = hashlib.sha256(self.der).digest()

    def __repr__(self) -> str:
        return f"<Certificate {self.sha256.hex()[:8]}>"

    @cached_property
    def scheme(self) -> Scheme:
        """How it was signed. Raises Malformed."""
        return scheme_of(self._algorithm)

    @property
    def value(self) -> bytes:
        """The signature on it. Raises Malformed."""
        return self._value.bits()

    @cached_property
    def self_issued(self) -> bool:
        """Whether issuer and subject are the same name."""
        return names.equal(self.issuer, self.subject)

    @cached_property
    def key_octets(self) -> bytes:
        """The public key without its algorithm: what SHA-1 key hashes are made of. Raises Malformed."""
        return parse(self.spki).sequence(2)[1].bits()

    @property
    def key(self) -> trust.Acceptance:
        """How its key stands."""
        return key_acceptance(self.spki)

    @cached_property
    def _extensions(self) -> tuple[dict[bytes, tuple[bool, bytes]], bool]:
        found: dict[bytes, tuple[bool, bytes]] = {}
        repeated = False
        for field in self._rest:
            if field.tag != 0xA3:
                continue
            for extension in field.only().kids():
                parts = extension.sequence(2)
                kind = parts[0].oid()
                critical = len(parts) > 2 and parts[1].boolean()
                repeated = repeated or kind in found
                found.setdefault(kind, (critical, parts[-1].octets()))
        return found, repeated

    @property
    def extensions(self) -> dict[bytes, tuple[bool, bytes]]:
        """(critical, value) by type. Raises Malformed."""
        return self._extensions[0]

    @property
    def repeats_an_extension(self) -> bool:
        """RFC 5280 clause 4.2 forbids it. Raises Malformed."""
        return self._extensions[1]

    def extension(self, kind: bytes) -> Node | None:
        """The parsed value of an extension. Raises Malformed."""
        found = self.extensions.get(kind)
        return parse(found[1]) if found is not None else None

    @cached_property
    def basic_constraints(self) -> tuple[bool, int | None]:
        """(is an authority, path length). Raises Malformed."""
        node = self.extension(BASIC_CONSTRAINTS)
        authority, length = False, None
        for part in node.sequence() if node is not None else ():
            if part.tag == 0x01:
                authority = part.boolean()
            else:
                length = part.integer()
        return authority, length

    @property
    def authority(self) -> bool:
        """Whether it says that it is a certification authority. Raises Malformed."""
        return self.basic_constraints[0]

    @cached_property
    def usages(self) -> frozenset[str] | None:
        """The key usages, or none when it states none. Raises Malformed."""
        node = self.extension(KEY_USAGE)
        if node is None:
            return None
        octets = node.bits()
        bits = int.from_bytes(octets[:2].ljust(2, b"\0"), "big")
        return frozenset(name for at, name in enumerate(_USAGES) if bits >> (15 - at) & 1)

    @cached_property
    def purposes(self) -> tuple[str, ...] | None:
        """The extended key usages, dotted where they have no name here; none when it states none. Raises Malformed."""
        node = self.extension(EXTENDED_KEY_USAGE)
        if node is None:
            return None
        each = [dotted(kid.oid()) for kid in node.sequence()]
        return tuple(_PURPOSES.get(purpose, purpose) for purpose in each)

    def critical(self, kind: bytes) -> bool:
        """Whether it has the extension and it is critical. Raises Malformed."""
        return self.extensions.get(kind, (False, b""))[0]

    @cached_property
    def policies(self) -> tuple[str, ...] | None:
        """The certificate policies, dotted. Raises Malformed."""
        node = self.extension(POLICIES)
        return None if node is None else tuple(dotted(kid.sequence(1)[0].oid()) for kid in node.sequence())

    @cached_property
    def subject_key(self) -> bytes | None:
        """The subject key identifier; none when it states none, or states it unreadably."""
        try:
            node = self.extension(SUBJECT_KEY)
            return node.octets() if node is not None else None
        except Malformed:
            return None

    @cached_property
    def authority_key(self) -> bytes | None:
        """The key identifier of the issuer; none when it states none, or states it unreadably."""
        try:
            node = self.extension(AUTHORITY_KEY)
            for part in node.sequence() if node is not None else ():
                if part.tag == 0x80:
                    return part.contents
        except Malformed:
            pass
        return None

    @cached_property
    def alternative_names(self) -> tuple[GeneralName, ...]:
        """The subject alternative names. Raises Malformed."""
        node = self.extension(SUBJECT_ALTERNATIVE)
        return tuple(names.general_names(node)) if node is not None else ()

    @cached_property
    def distribution_points(self) -> tuple[tuple[tuple[GeneralName, ...], tuple[bytes, ...]], ...] | None:
        """(full names, names of the CRL issuers) of each CRL distribution point. Raises Malformed."""
        node = self.extension(CRL_POINTS)
        if node is None:
            return None
        return tuple(_point(point, self.issuer) for point in node.sequence())

    @cached_property
    def ocsp_addresses(self) -> tuple[str, ...]:
        """Where an OCSP responder is said to be; empty when unreadable."""
        found = []
        try:
            node = self.extension(AUTHORITY_ACCESS)
            for access in node.sequence() if node is not None else ():
                method, place = access.sequence(2)[:2]
                if method.oid() == _OCSP and place.tag == 0x80 | names.URI:
                    found.append(place.contents.decode("ascii"))
        except (Malformed, UnicodeDecodeError):
            pass
        return tuple(found[:MOST_ADDRESSES])

    @cached_property
    def crl_addresses(self) -> tuple[str, ...]:
        """Where a CRL is said to be; empty when unreadable."""
        try:
            found = [
                name.value.decode("ascii")
                for full, _ in self.distribution_points or ()
                for name in full
                if name.choice == names.URI
            ]
        except (Malformed, UnicodeDecodeError):
            found = []
        return tuple(found[:MOST_ADDRESSES])


def _point(point: Node, issuer: bytes) -> tuple[tuple[GeneralName, ...], tuple[bytes, ...]]:
    full: tuple[GeneralName, ...] = ()
    issuers: tuple[bytes, ...] = ()
    name: Node | None = None
    for part in point.sequence():
        if part.tag == 0xA0:
            name = part.only()
        elif part.tag == 0xA2:
            issuers = tuple(each.value for each in names.general_names(part) if each.choice == names.DIRECTORY)
    if name is not None:
        full = point_names(name, issuers[0] if issuers else issuer)
    return full, issuers


def point_names(name: Node, issuer: bytes) -> tuple[GeneralName, ...]:
    """The names of a DistributionPointName; a name relative to the CRL's issuer is completed (RFC 5280 4.2.1.13).

    Raises:
        Malformed: it is none.
    """
    if name.tag == 0xA0:
        return tuple(names.general_names(name))
    if name.tag == 0xA1:
        relative = b"".join(kid.raw for kid in parse(issuer).sequence())
        return (GeneralName(names.DIRECTORY, encoded(SEQUENCE, relative + encoded(SET, name.contents))),)
    raise Malformed("no-distribution-point-name")


def read_certificate(der: bytes) -> Certificate:
    """A certificate; those of usual size are read once in the life of the process. Raises Malformed."""
    return _kept(der) if len(der) <= _USUAL_OCTETS else Certificate(der)


@lru_cache(maxsize=512)
def _kept(der: bytes) -> Certificate:
    return Certificate(der)


@lru_cache(maxsize=16)
def _anchors(files: tuple[bytes, ...]) -> tuple[Certificate, ...]:
    found: dict[bytes, Certificate] = {}
    for raw in files:
        armoured = b"-----BEGIN" in raw
        for der in unarmoured(raw, _PEM) if armoured else [raw]:
            certificate = read_certificate(der)
            found.setdefault(certificate.sha256, certificate)
    return tuple(found.values())


def load_anchors(files: Iterable[bytes]) -> tuple[Certificate, ...]:
    """Certificates from PEM (one or many a file) or DER.

    Raises:
        ValueError: a file holds what is no certificate.
    """
    try:
        return _anchors(tuple(files))
    except Malformed as fault:
        raise ValueError("an anchor is no certificate") from fault


def unarmoured(raw: bytes, pattern: re.Pattern[bytes]) -> list[bytes]:
    """What stands between the armour lines of PEM (RFC 7468). Raises Malformed when it is no base64."""
    try:
        return [base64.b64decode(body, validate=False) for body in pattern.findall(raw)]
    except ValueError as fault:
        raise Malformed("no-base64") from fault
