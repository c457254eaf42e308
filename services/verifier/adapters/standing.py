"""How a certificate stood at a moment: a path to an anchor (RFC 5280), and its status by OCSP or CRL (RFC 6960, 5280).

Offline: it knows only the anchors it was given and what the file brings. Evidence counts only when it is signed by the
right authority, speaks of this certificate and of this moment; otherwise the status is unknown, never good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import crl, ocsp, pem, x509
from cryptography.exceptions import InvalidSignature
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.errors import (
    ExpiredError,
    NotYetValidError,
    PathBuildingError,
    PathError,
    PathValidationError,
)
from pyhanko_certvalidator.policy_decl import AcceptAllAlgorithms
from pyhanko_certvalidator.validate import async_validate_path

from domain import trust
from services.verifier.adapters import cms
from services.verifier.adapters.cms import CmsFault, TolerantSignatures

SKEW = timedelta(minutes=5)
"""Clocks of honest parties differ by no more than this."""
MOST_PATHS = 20
_NO_CHECK = "ocsp_no_check"


@dataclass(frozen=True)
class Path:
    """A path from a certificate to an anchor, or why there is none."""

    certificates: tuple[Any, ...]
    """Leaf first, anchor last."""
    fault: str | None = None
    """Kebab-case: `no-path`, `expired`, `not-yet-valid`, `path-invalid`."""

    @property
    def whole(self) -> bool:
        """It reaches an anchor and holds."""
        return self.fault is None


@dataclass(frozen=True)
class Status:
    """What the evidence says of one certificate at one moment."""

    certificate: Any
    known: bool
    revoked_at: datetime | None = None
    reason: str | None = None
    source: str | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None
    sha256: str | None = None
    rejected: str | None = None
    """Why the best evidence there was does not count."""


@dataclass(frozen=True)
class _Evidence:
    """One authentic statement about one certificate."""

    source: str
    this_update: datetime
    next_update: datetime | None
    archive_cutoff: datetime | None
    revoked_at: datetime | None
    reason: str | None
    sha256: str


@dataclass
class Material:
    """Certificates and status data, from wherever: DSS, CMS, the caller."""

    certificates: dict[bytes, Any] = field(default_factory=dict)
    ocsps: dict[str, Any] = field(default_factory=dict)
    crls: dict[str, Any] = field(default_factory=dict)

    def add_certificate(self, certificate: Any) -> None:
        """Keep a certificate (asn1crypto)."""
        self.certificates.setdefault(bytes(certificate.sha256), certificate)

    def add(self, certificates: Iterable[bytes] = (), ocsps: Iterable[bytes] = (), crls: Iterable[bytes] = ()) -> None:
        """Keep what can be parsed; the rest serves nobody."""
        for raw in certificates:
            try:
                certificate = x509.Certificate.load(raw)
                certificate.subject.native  # noqa: B018
                certificate.public_key["algorithm"].native  # noqa: B018
                self.add_certificate(certificate)
            except Exception:  # noqa: BLE001, S112
                continue
        for raw in ocsps:
            try:
                response = ocsp.OCSPResponse.load(raw)
                if response["response_status"].native != "successful":
                    continue
                basic = response.basic_ocsp_response
                for certificate in basic["certs"] or ():
                    self.add_certificate(certificate)
                self.ocsps[hashlib.sha256(raw).hexdigest()] = basic
            except Exception:  # noqa: BLE001, S112
                continue
        for raw in crls:
            try:
                der = pem.unarmor(raw)[2] if pem.detect(raw) else raw
                listed = crl.CertificateList.load(der)
                listed["tbs_cert_list"]["this_update"].native  # noqa: B018
                self.crls[hashlib.sha256(der).hexdigest()] = listed
            except Exception:  # noqa: BLE001, S112
                continue


class Standing:
    """Judges certificates against anchors with the material of one file. Times are aware; `now` is injected."""

    def __init__(self, anchors: Iterable[Any], material: Material, now: datetime) -> None:
        self.anchors = list(anchors)
        self.material = material
        self.now = now
        self._anchor_keys = {bytes(anchor.sha256) for anchor in self.anchors}
        self._paths: dict[tuple[bytes, datetime], Path] = {}
        self._evidence: dict[tuple[bytes, bytes, str], tuple[list[_Evidence], str | None]] = {}

    def is_anchor(self, certificate: Any) -> bool:
        """Whether it is one of the anchors."""
        return bytes(certificate.sha256) in self._anchor_keys

    async def path(self, certificate: Any, at: datetime) -> Path:
        """The path that holds at the moment, or the best reason why none does. Status plays no part here."""
        key = (bytes(certificate.sha256), at)
        if key not in self._paths:
            self._paths[key] = await self._find_path(certificate, at)
        return self._paths[key]

    async def _find_path(self, certificate: Any, at: datetime) -> Path:
        if not self.anchors:
            return Path(tuple(self.chain(certificate)), "no-path")
        context = ValidationContext(
            trust_roots=self.anchors,
            other_certs=list(self.material.certificates.values()),
            moment=at,
            allow_fetching=False,
            revocation_mode="soft-fail",
            algorithm_usage_policy=AcceptAllAlgorithms(),
            signature_validator=TolerantSignatures(),
        )
        try:
            candidates = context.path_builder.async_build_paths_lazy(certificate)
        except Exception:  # noqa: BLE001
            return Path(tuple(self.chain(certificate)), "no-path")
        best: Path | None = None
        tried = 0
        try:
            async for candidate in candidates:
                tried += 1
                if tried > MOST_PATHS:
                    break
                found = tuple(reversed(list(candidate.iter_certs(include_root=True))))
                try:
                    await async_validate_path(context, candidate)
                    return Path(found)
                except ExpiredError:
                    best = best or Path(found, "expired")
                except NotYetValidError:
                    best = best or Path(found, "not-yet-valid")
                except (PathValidationError, PathError):
                    best = best or Path(found, "path-invalid")
        except PathBuildingError:
            pass
        except Exception:  # noqa: BLE001 - a malformed certificate among the candidates
            best = best or Path(tuple(self.chain(certificate)), "path-invalid")
        finally:
            await candidates.cancel()
        return best or Path(tuple(self.chain(certificate)), "no-path")

    def chain(self, certificate: Any) -> list[Any]:
        """The certificates from this one up as far as issuers are found, whoever is trusted: leaf first."""
        found = [certificate]
        while len(found) < 10:
            current = found[-1]
            if self.is_anchor(current) or current.issuer == current.subject:
                break
            issuer = self.issuer(current)
            if issuer is None or issuer in found:
                break
            found.append(issuer)
        return found

    def issuer(self, certificate: Any) -> Any | None:
        """The certificate whose key signed this one, if it is at hand."""
        for candidate in (*self.anchors, *self.material.certificates.values()):
            if candidate.subject == certificate.issuer and self._signed_by(certificate, candidate):
                return candidate
        return None

    def _signed_by(self, certificate: Any, issuer: Any) -> bool:
        try:
            return cms.verifies(
                issuer.public_key,
                certificate["signature_algorithm"],
                bytes(certificate["signature_value"].native),
                certificate["tbs_certificate"].dump(),
            )
        except (CmsFault, ValueError, TypeError):
            return False

    def status(self, certificate: Any, issuer: Any, at: datetime) -> Status:
        """The certificate's status at the moment.

        Evidence from before the moment counts until its nextUpdate (EN 319 102-1 clause 5.2.5), evidence from after it
        counts while the issuer still answers for the certificate. An authentic revocation from before always counts.
        """
        evidence, rejected = self._authentic(certificate, issuer)
        not_before, not_after = validity(certificate)
        usable: list[_Evidence] = []
        for one in evidence:
            if one.this_update > self.now + SKEW:
                rejected = "evidence-from-the-future"
            elif one.this_update < not_before - SKEW:
                rejected = "evidence-before-certificate"
            elif one.revoked_at is not None and one.revoked_at <= at:
                usable.append(one)
            elif one.this_update < at and (one.next_update is None or one.next_update < at):
                rejected = "evidence-stale"
            elif one.this_update > not_after and (one.archive_cutoff is None or one.archive_cutoff > not_after):
                rejected = "evidence-after-expiry"
            else:
                usable.append(one)
        if not usable:
            return Status(certificate, known=False, rejected=rejected)
        usable.sort(key=lambda one: (one.revoked_at is None or one.revoked_at > at, -one.this_update.timestamp()))
        best = usable[0]
        return Status(
            certificate,
            known=True,
            revoked_at=best.revoked_at,
            reason=best.reason,
            source=best.source,
            this_update=best.this_update,
            next_update=best.next_update,
            sha256=best.sha256,
        )

    def has_evidence(self, certificate: Any, material: Material) -> bool:
        """Whether `material` alone holds authentic status data for the certificate that does not predate it."""
        issuer = self.issuer(certificate)
        if issuer is None:
            return False
        evidence, _ = self._authentic(certificate, issuer)
        not_before, _ = validity(certificate)
        held = {*material.ocsps, *material.crls}
        return any(one.sha256 in held and one.this_update >= not_before for one in evidence)

    def _authentic(self, certificate: Any, issuer: Any) -> tuple[list[_Evidence], str | None]:
        key = (bytes(certificate.sha256), bytes(issuer.sha256), "")
        if key not in self._evidence:
            found: list[_Evidence] = []
            rejected: str | None = None
            for name, basic in self.material.ocsps.items():
                try:
                    found.extend(self._from_ocsp(name, basic, certificate, issuer))
                except _Rejected as why:
                    rejected = why.reason
                except Exception:  # noqa: BLE001
                    rejected = "evidence-unreadable"
            for name, listed in self.material.crls.items():
                try:
                    found.extend(self._from_crl(name, listed, certificate, issuer))
                except _Rejected as why:
                    rejected = why.reason
                except Exception:  # noqa: BLE001
                    rejected = "evidence-unreadable"
            self._evidence[key] = (found, rejected)
        return self._evidence[key]

    def _from_ocsp(self, name: str, basic: Any, certificate: Any, issuer: Any) -> Iterable[_Evidence]:
        singles = [
            single
            for single in basic["tbs_response_data"]["responses"]
            if _certificate_id_fits(single["cert_id"], certificate, issuer)
        ]
        if not singles:
            return []
        self._check_responder(basic, issuer)
        found = []
        for single in singles:
            status = single["cert_status"]
            if status.name == "unknown":
                continue
            revoked_at, reason = None, None
            if status.name == "revoked":
                revoked_at = status.chosen["revocation_time"].native
                reason = str(status.chosen["revocation_reason"].native or "unspecified")
            cutoff = None
            for extension in single["single_extensions"] or ():
                if extension["extn_id"].native == "archive_cutoff":
                    cutoff = extension["extn_value"].parsed.native
            found.append(
                _Evidence(
                    "ocsp",
                    single["this_update"].native,
                    single["next_update"].native,
                    cutoff,
                    revoked_at,
                    reason,
                    name,
                )
            )
        return found

    def _check_responder(self, basic: Any, issuer: Any) -> None:
        """The response must be signed by the issuer itself or by its delegate (RFC 6960 clause 4.2.2.2)."""
        data = basic["tbs_response_data"]
        identity = data["responder_id"]
        produced = data["produced_at"].native
        candidates = [issuer, *(basic["certs"] or ()), *self.material.certificates.values()]
        reason = "responder-not-found"
        for candidate in candidates:
            if identity.name == "by_name":
                if candidate.subject != identity.chosen:
                    continue
            elif hashlib.sha1(bytes(candidate.public_key["public_key"]), usedforsecurity=False).digest() != bytes(
                identity.chosen.native
            ):
                continue
            if not self._response_signed_by(basic, candidate):
                reason = "response-signature-wrong"
                continue
            if bytes(candidate.sha256) == bytes(issuer.sha256):
                return
            usages = candidate.extended_key_usage_value
            if usages is None or "ocsp_signing" not in usages.native:
                reason = "responder-not-authorised"
                continue
            if candidate.issuer != issuer.subject or not self._signed_by(candidate, issuer):
                reason = "responder-not-authorised"
                continue
            not_before, not_after = validity(candidate)
            if not not_before - SKEW <= produced <= not_after + SKEW:
                reason = "responder-not-valid-then"
                continue
            if not _has_extension(candidate, _NO_CHECK) and not self._good_by_crl(candidate, issuer, produced):
                reason = "responder-status-unknown"
                continue
            return
        raise _Rejected(reason)

    def _response_signed_by(self, basic: Any, candidate: Any) -> bool:
        algorithm = basic["signature_algorithm"]
        if not _strong(algorithm, candidate):
            raise _Rejected("evidence-weak-algorithm")
        try:
            return cms.verifies(
                candidate.public_key,
                algorithm,
                bytes(basic["signature"].native),
                basic["tbs_response_data"].dump(),
            )
        except CmsFault:
            return False

    def _good_by_crl(self, certificate: Any, issuer: Any, at: datetime) -> bool:
        for name, listed in self.material.crls.items():
            try:
                for one in self._from_crl(name, listed, certificate, issuer):
                    fresh = one.this_update >= at or (one.next_update is not None and one.next_update >= at)
                    if fresh and (one.revoked_at is None or one.revoked_at > at):
                        return True
            except Exception:  # noqa: BLE001, S112
                continue
        return False

    def _from_crl(self, name: str, listed: Any, certificate: Any, issuer: Any) -> Iterable[_Evidence]:
        tbs = listed["tbs_cert_list"]
        if tbs["issuer"] != issuer.subject or certificate.issuer != issuer.subject:
            return []
        usage = issuer.key_usage_value
        if usage is not None and "crl_sign" not in usage.native:
            raise _Rejected("crl-issuer-not-authorised")
        cutoff = None
        for extension in tbs["crl_extensions"] or ():
            kind = extension["extn_id"].native
            if kind == "issuing_distribution_point":
                point = extension["extn_value"].parsed.native
                authority = bool(certificate.ca)
                if (
                    point.get("indirect_crl")
                    or point.get("only_contains_attribute_certs")
                    or point.get("only_some_reasons")
                    or (point.get("only_contains_user_certs") and authority)
                    or (point.get("only_contains_ca_certs") and not authority)
                ):
                    raise _Rejected("crl-out-of-scope")
            elif kind == "delta_crl_indicator":
                raise _Rejected("crl-out-of-scope")
            elif kind == "2.5.29.60":
                cutoff = extension["extn_value"].parsed.native
            elif extension["critical"].native and kind not in ("crl_number", "authority_key_identifier"):
                raise _Rejected("crl-unknown-critical-extension")
        if not _strong(listed["signature_algorithm"], issuer):
            raise _Rejected("evidence-weak-algorithm")
        try:
            fits = cms.verifies(
                issuer.public_key, listed["signature_algorithm"], bytes(listed["signature"].native), tbs.dump()
            )
        except CmsFault:
            fits = False
        if not fits:
            raise _Rejected("crl-signature-wrong")
        revoked_at, reason = None, None
        for entry in tbs["revoked_certificates"] or ():
            if entry["user_certificate"].native == certificate.serial_number:
                revoked_at = entry["revocation_date"].native
                reason = str(entry.crl_reason_value.native) if entry.crl_reason_value else "unspecified"
                if reason == "remove_from_crl":
                    revoked_at, reason = None, None
        return [
            _Evidence("crl", tbs["this_update"].native, tbs["next_update"].native, cutoff, revoked_at, reason, name)
        ]


class _Rejected(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def validity(certificate: Any) -> tuple[datetime, datetime]:
    """(notBefore, notAfter)."""
    span = certificate["tbs_certificate"]["validity"]
    return span["not_before"].native, span["not_after"].native


def load_anchors(files: Iterable[bytes]) -> list[Any]:
    """Certificates from PEM (one or many a file) or DER.

    Raises:
        ValueError: a file holds no certificate.
    """
    found: dict[bytes, Any] = {}
    for raw in files:
        ders = [der for _, _, der in pem.unarmor(raw, multiple=True)] if pem.detect(raw) else [raw]
        for der in ders:
            certificate = x509.Certificate.load(der)
            certificate.subject.native  # noqa: B018 - parse it now
            found.setdefault(bytes(certificate.sha256), certificate)
    return list(found.values())


def _certificate_id_fits(identifier: Any, certificate: Any, issuer: Any) -> bool:
    name = str(identifier["hash_algorithm"]["algorithm"].native)
    if identifier["serial_number"].native != certificate.serial_number or certificate.issuer != issuer.subject:
        return False
    name_hash = cms.digest_of(name, issuer.subject.dump())
    key_hash = cms.digest_of(name, bytes(issuer.public_key["public_key"]))
    return bytes(identifier["issuer_name_hash"].native) == name_hash and (
        bytes(identifier["issuer_key_hash"].native) == key_hash
    )


def _strong(algorithm: Any, signer: Any) -> bool:
    grades = [cms.key_acceptance(signer).grade]
    try:
        grades.append(trust.digest(str(algorithm.hash_algo)).grade)
    except ValueError:
        pass
    return trust.Grade.FORBIDDEN not in grades


def _has_extension(certificate: Any, name: str) -> bool:
    return any(extension["extn_id"].native == name for extension in certificate["tbs_certificate"]["extensions"] or ())


__all__ = [
    "SKEW",
    "InvalidSignature",
    "Material",
    "Path",
    "Standing",
    "Status",
    "load_anchors",
    "validity",
]
