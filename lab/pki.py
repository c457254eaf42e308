"""A public-CA-shaped hierarchy: root, issuing CA, TSA, OCSP responders; issues, suspends, revokes and keeps its books.

Profiles follow the conventions of Vietnamese public CAs (UID = MST:/CCCD:), RFC 5280, the semantics identifiers of
EN 319 412-1 and RFC 9336. Subscribers' certificates live at most three years (Decree 23/2025/ND-CP Art 4).
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from events.errors import Refused

DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")
MS_DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.4.1.311.10.3.12")
POLICY = ObjectIdentifier("2.25.288612405431746093")
QC_STATEMENTS = ObjectIdentifier("1.3.6.1.5.5.7.1.3")
LONGEST_DAYS = 1096
"""Three years (Decree 23/2025/ND-CP Art 4)."""

_SHA256 = hashes.SHA256()
_DER = serialization.Encoding.DER
_PEM = serialization.Encoding.PEM
_SETTLE = timedelta(seconds=2)
"""notBefore lies this far back; status is never dated before it."""


@dataclass(frozen=True)
class Issuer:
    """A certificate and its key."""

    name: str
    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        """The certificate, DER."""
        return self.certificate.public_bytes(_DER)

    @property
    def pem(self) -> str:
        """The certificate, PEM."""
        return self.certificate.public_bytes(_PEM).decode()


class Pki:
    """The hierarchy in a folder; the same after a restart. `base` is the URL below which it is served."""

    def __init__(self, folder: Path, base: str, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._base = base
        self._clock = clock
        folder.mkdir(parents=True, exist_ok=True)
        self._books = sqlite3.connect(folder / "ca.db", isolation_level=None, check_same_thread=False)
        self._books.executescript(
            """PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
            CREATE TABLE IF NOT EXISTS certificates (serial TEXT PRIMARY KEY, spki TEXT UNIQUE, request TEXT UNIQUE,
              fingerprint TEXT, pem TEXT, status TEXT, reason TEXT, since TEXT, invalidity TEXT);"""
        )
        self.root = self._authority("root", None, 25 * 365)
        self.issuing = self._authority("issuing", self.root, 10 * 365)
        self.tsa = self._leaf("tsa", self.root, [ExtendedKeyUsageOID.TIME_STAMPING], critical=True, rsa_bits=3072)
        self.tsa2 = self._leaf("tsa2", self.root, [ExtendedKeyUsageOID.TIME_STAMPING], critical=True)
        self.responders = {
            "root": self._leaf("ocsp-root", self.root, [ExtendedKeyUsageOID.OCSP_SIGNING], nocheck=True),
            "issuing": self._leaf("ocsp-issuing", self.issuing, [ExtendedKeyUsageOID.OCSP_SIGNING], nocheck=True),
        }

    def close(self) -> None:
        """Close the books."""
        self._books.close()

    # --- the hierarchy

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(microsecond=0)

    def _kept(self, name: str, make: Callable[[], tuple[x509.Certificate, Any]]) -> Issuer:
        """An authority from its file; made when it is not there."""
        place = self._folder / f"{name}.pem"
        if not place.exists():
            certificate, key = make()
            secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            fresh = place.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_bytes(secret + certificate.public_bytes(_PEM))
            fresh.rename(place)
        text = place.read_bytes()
        return Issuer(
            name, x509.load_pem_x509_certificate(text), serialization.load_pem_private_key(text, password=None)
        )

    def _authority(self, name: str, issuer: Issuer | None, days: int) -> Issuer:
        title = {"root": "Antin Lab Root CA", "issuing": "Antin Lab Public CA"}[name]

        def make() -> tuple[x509.Certificate, Any]:
            key = ec.generate_private_key(ec.SECP384R1())
            subject = _name(("C", "VN"), ("O", "Antin Lab"), ("CN", title))
            builder = self._builder(subject, key.public_key(), issuer, days)
            builder = builder.add_extension(
                x509.BasicConstraints(ca=True, path_length=0 if issuer else None), critical=True
            ).add_extension(_usage(sign_certificates=True), critical=True)
            if issuer is not None:
                builder = builder.add_extension(self._policies(None), critical=False)
            return builder.sign((issuer.key if issuer else key), _SHA256), key

        return self._kept(name, make)

    def _leaf(
        self,
        name: str,
        issuer: Issuer,
        purposes: list[ObjectIdentifier],
        *,
        critical: bool = False,
        nocheck: bool = False,
        rsa_bits: int = 0,
    ) -> Issuer:
        def make() -> tuple[x509.Certificate, Any]:
            key: Any = (
                rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
            )
            subject = _name(("C", "VN"), ("O", "Antin Lab"), ("CN", f"Antin Lab {name.upper()}"))
            builder = self._builder(subject, key.public_key(), issuer, 5 * 365, silent=nocheck)
            builder = (
                builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(), critical=True)
                .add_extension(x509.ExtendedKeyUsage(purposes), critical=critical)
            )
            if nocheck:
                builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
            return builder.sign(issuer.key, _SHA256), key

        return self._kept(name, make)

    def _builder(
        self, subject: x509.Name, key: Any, issuer: Issuer | None, days: int, *, silent: bool = False
    ) -> x509.CertificateBuilder:
        now = self._now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key)
            .serial_number(int.from_bytes(b"\x54\x01" + secrets.token_bytes(14)))
            .not_valid_before(now - _SETTLE)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        if issuer is None:
            return builder
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
        if silent:
            return builder
        place = issuer.name
        access = [
            (AuthorityInformationAccessOID.OCSP, f"{self._base}/ocsp"),
            (AuthorityInformationAccessOID.CA_ISSUERS, f"{self._base}/certs/{place}.cer"),
        ]
        return builder.add_extension(
            x509.AuthorityInformationAccess(
                [x509.AccessDescription(kind, x509.UniformResourceIdentifier(url)) for kind, url in access]
            ),
            critical=False,
        ).add_extension(
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        [x509.UniformResourceIdentifier(f"{self._base}/crl/{place}.crl")], None, None, None
                    )
                ]
            ),
            critical=False,
        )

    def _policies(self, scope: str | None) -> x509.CertificatePolicies:
        qualifiers: list[str | x509.UserNotice] = [f"{self._base}/cps"]
        if scope is not None:
            qualifiers.append(x509.UserNotice(None, scope))
        return x509.CertificatePolicies([x509.PolicyInformation(POLICY, qualifiers)])

    # --- subscribers

    def issue(self, request: str, csr_pem: str, profile: str, subject: dict[str, str], days: int) -> dict[str, Any]:
        """Issue a subscriber's certificate. The same `request` with the same content gets the same certificate.

        Raises:
            Refused: the request, its key, its names or its life are not acceptable.
        """
        content = json.dumps([csr_pem, profile, subject, days], sort_keys=True)
        fingerprint = hashlib.sha256(content.encode()).hexdigest()
        known = self._books.execute(
            "SELECT fingerprint, pem, serial FROM certificates WHERE request = ?", (request,)
        ).fetchone()
        if known is not None:
            if known[0] != fingerprint:
                raise _refused("request-reused", "another request under this Idempotency-Key", "a new key", 409)
            return self._issued(known[1], known[2])
        csr = _acceptable(csr_pem)
        if not 1 <= days <= LONGEST_DAYS:
            raise _refused("life-too-long", f"{days} days", f"1 to {LONGEST_DAYS} days")
        public = csr.public_key()
        spki = hashlib.sha256(public.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()
        builder = self._builder(_subject(profile, subject), public, self.issuing, days)
        kind = "legal" if profile == "organisation" else "natural"
        scopes = {
            "natural": "Ký số cá nhân / natural person",
            "organisation": "Con dấu điện tử của tổ chức / e-seal of an organisation",
            "natural-in-organisation": "Ký số cá nhân trong tổ chức / person within an organisation",
        }
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(commit=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([DOCUMENT_SIGNING, MS_DOCUMENT_SIGNING]), critical=False)
            .add_extension(self._policies(scopes[profile]), critical=False)
            .add_extension(x509.UnrecognizedExtension(QC_STATEMENTS, _semantics(kind)), critical=False)
            .sign(self.issuing.key, _SHA256)
        )
        pem = certificate.public_bytes(_PEM).decode()
        serial = str(certificate.serial_number)
        try:
            self._books.execute(
                "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, 'good', NULL, NULL, NULL)",
                (serial, spki, request, fingerprint, pem),
            )
        except sqlite3.IntegrityError as fault:
            raise _refused(
                "key-not-unique", "a public key that was certified before", "a key of its own", 409
            ) from fault
        return self._issued(pem, serial)

    def _issued(self, pem: str, serial: str) -> dict[str, Any]:
        return {"certificate": pem, "chain": [self.issuing.pem, self.root.pem], "serial": serial}

    def status(self, serial: str) -> dict[str, Any]:
        """What the books say of a certificate.

        Raises:
            Refused: 404.
        """
        row = self._books.execute(
            "SELECT status, reason, since FROM certificates WHERE serial = ?", (serial,)
        ).fetchone()
        if row is None:
            raise _refused("unknown-serial", "a serial number we did not issue", "one of ours", 404)
        return {"status": row[0], "reason": row[1], "since": row[2]}

    def change(self, serial: str, to: str, reason: str | None, invalidity: str | None = None) -> dict[str, Any]:
        """Suspend, release ("good") or revoke. The same again changes nothing.

        Raises:
            Refused: unknown serial, or a revoked certificate is to be revived (409).
        """
        now = self.status(serial)
        if now["status"] == to:
            return now
        if now["status"] == "revoked":
            raise _refused("revoked-for-good", "a revoked certificate", "a suspended or good one", 409)
        since = self._now().isoformat()
        self._books.execute(
            "UPDATE certificates SET status = ?, reason = ?, since = ?, invalidity = ? WHERE serial = ?",
            (to, None if to == "good" else reason or "certificateHold", since, invalidity, serial),
        )
        return self.status(serial)

    # --- status, for others

    def ocsp(self, body: bytes, *, stale: bool = False, unknown: bool = False) -> bytes:
        """An OCSP response (RFC 6960)."""
        try:
            asked = ocsp.load_der_ocsp_request(body)
        except ValueError:
            return ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST).public_bytes(
                _DER
            )
        issuer = next((one for one in (self.root, self.issuing) if _is_issuer(asked, one)), None)
        if issuer is None:
            return ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(_DER)
        responder = self.responders[issuer.name]
        now = self._now()
        this, after = (
            (now - timedelta(days=3), now - timedelta(days=2)) if stale else (now, now + timedelta(minutes=10))
        )
        state, reason, since = self._state(issuer, asked.serial_number)
        if unknown:
            state, reason, since = ocsp.OCSPCertStatus.UNKNOWN, None, None
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=asked.issuer_name_hash,
            issuer_key_hash=asked.issuer_key_hash,
            serial_number=asked.serial_number,
            algorithm=asked.hash_algorithm,
            cert_status=state,
            this_update=this,
            next_update=after,
            revocation_time=since,
            revocation_reason=reason,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate).certificates(
            [responder.certificate]
        )
        for extension in asked.extensions:
            if isinstance(extension.value, x509.OCSPNonce):
                builder = builder.add_extension(extension.value, critical=False)
        return builder.sign(responder.key, _SHA256).public_bytes(_DER)

    def _state(self, issuer: Issuer, serial: int) -> tuple[Any, x509.ReasonFlags | None, datetime | None]:
        if issuer is self.root:
            own = {one.certificate.serial_number for one in (self.issuing, self.tsa, self.tsa2)}
            return (ocsp.OCSPCertStatus.GOOD if serial in own else ocsp.OCSPCertStatus.UNKNOWN), None, None
        try:
            found = self.status(str(serial))
        except Refused:
            return ocsp.OCSPCertStatus.UNKNOWN, None, None
        if found["status"] == "good":
            return ocsp.OCSPCertStatus.GOOD, None, None
        return ocsp.OCSPCertStatus.REVOKED, _reason(found["reason"]), datetime.fromisoformat(found["since"])

    def crl(self, name: str) -> bytes:
        """The CRL of `root` or `issuing` (RFC 5280 clause 5)."""
        issuer = {"root": self.root, "issuing": self.issuing}[name]
        now = self._now()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(now)
            .next_update(now + timedelta(hours=1))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        )
        rows = (
            self._books.execute("SELECT serial, reason, since FROM certificates WHERE status <> 'good'").fetchall()
            if name == "issuing"
            else []
        )
        for serial, reason, since in rows:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(serial))
                .revocation_date(datetime.fromisoformat(since))
                .add_extension(x509.CRLReason(_reason(reason)), critical=False)
                .build()
            )
        return builder.sign(issuer.key, _SHA256).public_bytes(_DER)


def _is_issuer(asked: ocsp.OCSPRequest, issuer: Issuer) -> bool:
    digest = hashes.Hash(asked.hash_algorithm)
    digest.update(issuer.certificate.subject.public_bytes())
    return digest.finalize() == asked.issuer_name_hash


def _reason(name: str | None) -> x509.ReasonFlags:
    try:
        return x509.ReasonFlags(name)
    except ValueError:
        return x509.ReasonFlags.unspecified


def _acceptable(csr_pem: str) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        proven = csr.is_signature_valid
    except ValueError as fault:
        raise _refused("request-unreadable", "no PKCS#10 request", "a PEM request (RFC 2986)") from fault
    if not proven:
        raise _refused("possession-not-proven", "a request not signed by its own key", "proof of possession")
    key = csr.public_key()
    strong = (isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 4096) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1")
    )
    if not strong:
        raise _refused("key-not-accepted", "a key of another kind", "RSA 2048 to 4096, P-256 or P-384")
    return csr


def _subject(profile: str, given: dict[str, str]) -> x509.Name:
    """Vietnamese convention: UID (0.9.2342.19200300.100.1.1) repeated, with a prefix in its value."""
    person = [
        ("UID", f"CCCD:{given.get('personal_number', '')}"),
        ("serialNumber", f"PNOVN-{given.get('personal_number', '')}"),
    ]
    firm = [
        ("UID", f"MST:{given.get('tax_code', '')}"),
        ("organizationIdentifier", f"VATVN-{given.get('tax_code', '')}"),
    ]
    place = [("C", "VN"), *([("L", given["locality"])] if given.get("locality") else [])]
    try:
        match profile:
            case "natural":
                parts = [*place, ("CN", given["full_name"]), *person]
            case "organisation":
                parts = [*place, ("O", given["organisation_name"]), ("CN", given["organisation_name"]), *firm]
            case "natural-in-organisation":
                title = [("T", given["title"])] if given.get("title") else []
                parts = [*place, ("O", given["organisation_name"]), *title, ("CN", given["full_name"]), *person, *firm]
            case _:
                raise _refused("profile-unknown", "another profile", "natural, organisation, natural-in-organisation")
    except KeyError as fault:
        raise _refused("subject-incomplete", f"no {fault.args[0]}", f"what the profile {profile} needs") from fault
    return _name(*parts)


_TYPES = {
    "C": NameOID.COUNTRY_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "CN": NameOID.COMMON_NAME,
    "T": NameOID.TITLE,
    "UID": NameOID.USER_ID,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
}


def _name(*parts: tuple[str, str]) -> x509.Name:
    for kind, text in parts:
        if kind in ("CN", "O", "T") and not 1 <= len(text) <= 64:
            raise _refused(
                "name-too-long", f"{kind} of {len(text)} characters", "1 to 64 (RFC 5280 appendix A); never cut"
            )
    return x509.Name([x509.NameAttribute(_TYPES[kind], text) for kind, text in parts])


def _usage(*, sign_certificates: bool = False, commit: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=commit,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


class _SemanticsInformation(core.Sequence):
    _fields = [("semantics", core.ObjectIdentifier)]  # noqa: RUF012


class _Statement(core.Sequence):
    _fields = [("statement", core.ObjectIdentifier), ("info", _SemanticsInformation)]  # noqa: RUF012


class _Statements(core.SequenceOf):
    _child_spec = _Statement


def _semantics(kind: str) -> bytes:
    """QCStatements with id-qcs-pkixQCSyntax-v2 and the semantics identifier (RFC 3739, EN 319 412-1 clause 5.1)."""
    semantics = {"natural": "0.4.0.194121.1.1", "legal": "0.4.0.194121.1.2"}[kind]
    make: Any = _Statements
    return bytes(make([{"statement": "1.3.6.1.5.5.7.11.2", "info": {"semantics": semantics}}]).dump())


def _refused(code: str, found: str, expected: str, status: int = 422) -> Refused:
    return Refused(code, found=found, expected=expected, remedy="correct the request", status=status)
