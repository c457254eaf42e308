"""One signature judged in the order of EN 319 102-1: format, certificate, cryptography, time, path, status, level.

Each step leaves a numbered row with its clause; the checks of Circular 15/2025/TT-BKHCN App. II are rows of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from asn1crypto.core import OctetString

from domain import trust
from services.verifier.adapters import cms, levels, people
from services.verifier.adapters.cms import Cms, CmsFault
from services.verifier.adapters.document import SecurityStore
from services.verifier.adapters.standing import SKEW, Material, Standing, Status, validity
from services.verifier.adapters.tokens import Token, evidence_of, judge_token, need_of, status_row
from services.verifier.model import (
    CheckFinding,
    Integrity,
    MissingStatus,
    SeenCertificate,
    SignatureReport,
    StatusEvidence,
    Sub,
    TimestampReport,
    doubtful,
    failed,
    notice,
    passed,
    skipped,
)

APP_II = "Circular 15/2025/TT-BKHCN App. II"
PADES = "ETSI.CAdES.detached"
_CMS_FILTERS = frozenset({PADES, "adbe.pkcs7.detached"})
_DOCUMENT_PURPOSES = frozenset(
    {
        "1.3.6.1.5.5.7.3.36",
        "1.2.840.113583.1.1.5",
        "1.3.6.1.4.1.311.10.3.12",
        "microsoft_document_signing",
        "adobe_authentic_documents_trust",
        "document_signing",
        "email_protection",
        "client_auth",
        "any_extended_key_usage",
    }
)


@dataclass
class Stamp:
    """A document timestamp, judged."""

    token: Token
    skew: timedelta = SKEW

    def distrust(self, why: CheckFinding) -> None:
        """It cannot prove anything after all."""
        self.token.findings.append(why)
        self.token.trusted = False


async def judge_stamp(
    contents: bytes | None,
    digest: Callable[[str], bytes | None],
    standing: Standing,
    control: datetime,
    *,
    intact: bool,
) -> Stamp:
    """Judge a document timestamp over its byte range (EN 319 142-1 clause 5.4.3)."""
    if contents is None or not intact:
        token = Token()
        token.findings.append(failed("token-format", "ISO 32000-2 12.8.5", "contents-unusable", Sub.FORMAT_FAILURE))
        return Stamp(token)
    return Stamp(await judge_token(contents, digest, standing, control))


@dataclass
class Judged:
    """What came of one signature."""

    rows: list[CheckFinding] = field(default_factory=list)
    integrity: Integrity = Integrity.INTACT
    unsupported: bool = False
    level: str | None = None
    certificate: SeenCertificate | None = None
    anchor: str | None = None
    claimed: datetime | None = None
    proven: datetime | None = None
    digest_algorithm: str | None = None
    signature_algorithm: str | None = None
    timestamps: list[TimestampReport] = field(default_factory=list)
    evidence: list[StatusEvidence] = field(default_factory=list)
    needs: list[MissingStatus] = field(default_factory=list)


class SignatureJudge:
    """Judges signatures of one file against one standing. `covering` are the document timestamps over the signature."""

    def __init__(
        self,
        standing: Standing,
        now: datetime,
        stores: Sequence[SecurityStore],
        covering: Sequence[Stamp],
        after: Sequence[tuple[Token, int]],
    ) -> None:
        self._standing = standing
        self._now = now
        self._stores = stores
        self._covering = covering
        self._after = after

    @staticmethod
    def gather(found: Cms, material: Material) -> None:
        """Keep what a CMS object and the tokens in it bring along."""
        for certificate in found.certificates:
            material.add_certificate(certificate)
        try:
            ocsps, crls = cms.embedded_revocation(found)
            material.add((), ocsps, crls)
            for raw in (*cms.timestamp_tokens(found), *cms.content_tokens(found)):
                token = cms.read(raw)
                for certificate in token.certificates:
                    material.add_certificate(certificate)
                ocsps, crls = cms.embedded_revocation(token)
                material.add((), ocsps, crls)
        except Exception:  # noqa: BLE001 - what cannot be read brings nothing
            return

    async def judge(
        self,
        found: Cms | CmsFault | None,
        *,
        digest: Callable[[str], bytes | None],
        ranges: tuple[memoryview, memoryview] | None,
        sub_filter: str | None,
        claimed: datetime | None,
        revision: int | None,
        sound: bool,
        certificates: Iterable[bytes],
        contents: bytes | None,
    ) -> Judged:
        """Judge one signature; never raises for what is in it."""
        out = Judged(claimed=claimed)
        try:
            await self._judge(out, found, digest, ranges, sub_filter, revision, sound, list(certificates), contents)
        except Exception as fault:  # noqa: BLE001 - one bad signature does not hide the others
            out.rows.append(
                doubtful(
                    "judged",
                    "ETSI EN 319 102-1 5.1",
                    "cannot-be-verified",
                    Sub.POLICY_PROCESSING_ERROR,
                    fault=type(fault).__name__,
                )
            )
        return out

    async def _judge(
        self,
        out: Judged,
        found: Cms | CmsFault | None,
        digest: Callable[[str], bytes | None],
        ranges: tuple[memoryview, memoryview] | None,
        sub_filter: str | None,
        revision: int | None,
        sound: bool,
        legacy: list[bytes],
        contents: bytes | None,
    ) -> None:
        if sub_filter == "adbe.x509.rsa_sha1" and ranges is not None and contents is not None:
            self._old_pkcs1(out, ranges, legacy, contents)
            return
        if sub_filter not in _CMS_FILTERS and sub_filter not in (None, "adbe.pkcs7.sha1"):
            out.unsupported = True
            out.rows.append(
                doubtful(
                    "format",
                    "ISO 32000-2 12.8.3.1",
                    "sub-filter-unsupported",
                    Sub.FORMAT_FAILURE,
                    found=str(sub_filter),
                )
            )
        if not isinstance(found, Cms):
            reason = found.reason if isinstance(found, CmsFault) else "contents-missing"
            detail = found.detail if isinstance(found, CmsFault) else {}
            out.rows.append(failed("format", "ETSI EN 319 102-1 5.2.2", reason, Sub.FORMAT_FAILURE, **detail))
            out.integrity = Integrity.BROKEN
            return
        if not out.unsupported:
            out.rows.append(passed("format", "ETSI EN 319 102-1 5.2.2", found=sub_filter or "-"))
        out.digest_algorithm, out.signature_algorithm = found.digest_algorithm, found.scheme
        if found.signer is not None:
            out.certificate = people.certificate(found.signer, None)
        if out.claimed is None:
            out.claimed = cms.signing_time(found)
        self._cryptography(out, found, digest, ranges, sub_filter, sound)
        self._signing_certificate(out, found, sub_filter)
        self._algorithms(out, found)
        if found.signer is None:
            return
        tokens = await self._timestamps(out, found)
        self._signing_time(out, found)
        await self._certificate(out, found)
        reached = levels.reached(
            found,
            self._standing,
            tokens,
            self._stores,
            self._after,
            revision=revision,
            missing=_missing_for_b(out, found, sub_filter),
        )
        out.level = reached.level
        out.rows.append(reached.row)

    def _old_pkcs1(
        self, out: Judged, ranges: tuple[memoryview, memoryview], legacy: list[bytes], contents: bytes
    ) -> None:
        """adbe.x509.rsa_sha1 (ISO 32000-1 12.8.3.2): deprecated, SHA-1; its bytes can be checked, it proves nothing."""
        out.unsupported = True
        from asn1crypto import x509
        from asn1crypto.algos import SignedDigestAlgorithm

        clause = "ISO 32000-2 12.8.3.2"
        fits = False
        try:
            signer = x509.Certificate.load(legacy[0])
            out.certificate = people.certificate(signer, None)
            value = bytes(OctetString.load(contents).native)
            algorithm = SignedDigestAlgorithm({"algorithm": "sha1_rsa"})
            fits = cms.verifies(signer.public_key, algorithm, value, b"".join(ranges))
        except Exception as fault:  # noqa: BLE001
            out.rows.append(failed("format", clause, "cms-unreadable", Sub.FORMAT_FAILURE, fault=type(fault).__name__))
        out.digest_algorithm, out.signature_algorithm = "sha1", "rsassa_pkcs1v15"
        if not fits:
            out.integrity = Integrity.BROKEN
            out.rows.append(failed("key-match", f"{APP_II} 2.2", "signature-does-not-fit", Sub.SIG_CRYPTO_FAILURE))
            return
        out.rows.append(passed("key-match", f"{APP_II} 2.2"))
        out.rows.append(
            failed(
                "algorithms", trust.SP800_131A, "algorithm-forbidden", Sub.CRYPTO_CONSTRAINTS_FAILURE, algorithm="sha1"
            )
        )

    def _cryptography(
        self,
        out: Judged,
        found: Cms,
        digest: Callable[[str], bytes | None],
        ranges: tuple[memoryview, memoryview] | None,
        sub_filter: str | None,
        sound: bool,
    ) -> None:
        """App. II 2.4 (hash equal) and 2.2 (key match)."""
        hash_clause, key_clause = f"{APP_II} 2.4", f"{APP_II} 2.2"
        if not sound or ranges is None:
            out.integrity = Integrity.BROKEN
            out.rows.append(skipped("hash-equal", hash_clause, "byte-range-unusable"))
            return
        if sub_filter == "adbe.pkcs7.sha1":
            inside = found.encapsulated
            equal = cms.same(digest("sha1"), inside)
            if found.attributes:
                equal = equal and cms.same(
                    cms.digest_of(found.digest_algorithm, inside or b""), cms.message_digest(found)
                )
            content = inside
        else:
            if found.encapsulated is not None or found.content_type != "data":
                out.integrity = Integrity.BROKEN
                out.rows.append(
                    failed("hash-equal", "ETSI EN 319 142-1 6.3", "content-encapsulated", Sub.FORMAT_FAILURE)
                )
                return
            content = b"".join(ranges) if not found.attributes else None
            equal = True
            if found.attributes:
                actual = digest(found.digest_algorithm)
                if actual is None:
                    out.integrity = Integrity.BROKEN
                    out.rows.append(
                        doubtful(
                            "hash-equal",
                            hash_clause,
                            "digest-unknown",
                            Sub.CRYPTO_CONSTRAINTS_FAILURE,
                            algorithm=found.digest_algorithm,
                        )
                    )
                    return
                equal = cms.same(actual, cms.message_digest(found))
        if not equal:
            out.integrity = Integrity.BROKEN
            out.rows.append(failed("hash-equal", hash_clause, "message-digest-differs", Sub.HASH_FAILURE))
            return
        kinds = found.attributes.get("content_type", [])
        if found.attributes and (len(kinds) != 1 or str(kinds[0].native) != found.content_type):
            out.rows.append(failed("format", "RFC 5652 11.1", "content-type-differs", Sub.FORMAT_FAILURE))
        out.rows.append(passed("hash-equal", hash_clause, algorithm=found.digest_algorithm))
        try:
            fits = cms.signature_fits(found, content)
        except CmsFault as fault:
            sub = (
                Sub.NO_SIGNING_CERTIFICATE_FOUND if fault.reason == "no-signing-certificate" else Sub.SIG_CRYPTO_FAILURE
            )
            out.integrity = Integrity.BROKEN
            out.rows.append(failed("key-match", key_clause, fault.reason, sub, **fault.detail))
            return
        if not fits:
            out.integrity = Integrity.BROKEN
            out.rows.append(failed("key-match", key_clause, "signature-does-not-fit", Sub.SIG_CRYPTO_FAILURE))
            return
        out.rows.append(passed("key-match", key_clause, algorithm=found.scheme))

    def _signing_certificate(self, out: Judged, found: Cms, sub_filter: str | None) -> None:
        """EN 319 102-1 clause 5.2.3; PAdES requires ESS signing-certificate (EN 319 142-1 clause 6.3)."""
        clause = "ETSI EN 319 102-1 5.2.3; ETSI EN 319 142-1 6.3"
        if found.signer is None:
            out.rows.append(
                doubtful("signing-certificate", clause, "no-signing-certificate", Sub.NO_SIGNING_CERTIFICATE_FOUND)
            )
            return
        fault = cms.ess_fault(found)
        if fault is None:
            out.rows.append(passed("signing-certificate", clause))
        elif not found.attributes:
            out.rows.append(
                doubtful("signing-certificate", clause, "no-signed-attributes", Sub.SIG_CONSTRAINTS_FAILURE)
            )
        elif fault == "ess-missing" and sub_filter != PADES:
            out.rows.append(notice("signing-certificate", clause, "ess-missing-not-pades"))
        else:
            out.rows.append(doubtful("signing-certificate", clause, fault, Sub.NO_SIGNING_CERTIFICATE_FOUND))

    def _algorithms(self, out: Judged, found: Cms) -> None:
        """App. II 1.3: algorithms of App. I; PKCS#1 v1.5 with a notice. Weak ones of the signature itself fail.

        Weak ones above it in the chain leave a doubt (EN 319 102-1 clause 5.2.8: CRYPTO_CONSTRAINTS_FAILURE).
        """
        code, clause = "algorithms", f"{APP_II} 1.3"
        own = cms.algorithms(found)
        chain = [
            one
            for certificate in (self._standing.chain(found.signer) if found.signer is not None else [])
            if certificate.issuer != certificate.subject and not self._standing.is_anchor(certificate)
            for one in cms.certificate_acceptances(certificate)
            if one.grade is not trust.Grade.NOTICE
        ]
        worst, above = trust.worst(own), trust.worst(chain)
        bad = (trust.Grade.FORBIDDEN, trust.Grade.UNLISTED)
        sub = Sub.CRYPTO_CONSTRAINTS_FAILURE
        if worst is None:
            return
        where = f"{clause}; {worst.clause}"
        if worst.grade is trust.Grade.FORBIDDEN:
            out.rows.append(failed(code, where, "algorithm-forbidden", sub, algorithm=worst.algorithm))
        elif worst.grade is trust.Grade.UNLISTED:
            out.rows.append(doubtful(code, where, "algorithm-unlisted", sub, algorithm=worst.algorithm))
        elif above is not None and above.grade in bad:
            where = f"{clause}; {above.clause}"
            out.rows.append(doubtful(code, where, "algorithm-in-chain", sub, algorithm=above.algorithm))
        elif worst.grade is trust.Grade.NOTICE:
            out.rows.append(notice(code, where, worst.reason or "algorithm-noticed", algorithm=worst.algorithm))
        else:
            named = ", ".join(dict.fromkeys(one.algorithm for one in own))
            out.rows.append(passed(code, where, algorithm=named))

    async def _timestamps(self, out: Judged, found: Cms) -> list[Token]:
        """Signature timestamps, then the earliest trusted moment (EN 319 102-1 clause 5.5)."""
        later = [stamp.token.time for stamp in self._covering if stamp.token.trusted and stamp.token.time]
        control = min([self._now, *later])
        tokens: list[Token] = []
        value = bytes(found.signer_info["signature"].native)
        for raw in cms.timestamp_tokens(found):
            token = await judge_token(raw, lambda name: cms.digest_of(name, value), self._standing, control)
            tokens.append(token)
        if found.unsigned_fault:
            broken = Token()
            broken.findings.append(failed("token-format", "RFC 3161 A", "cms-unreadable", Sub.FORMAT_FAILURE))
            tokens.append(broken)
        not_before, _ = validity(found.signer)
        for token in tokens:
            if token.trusted and token.time is not None and token.time < not_before - SKEW:
                token.findings.append(
                    doubtful("token-order", "ETSI EN 319 102-1 5.5", "before-certificate", Sub.TIMESTAMP_ORDER_FAILURE)
                )
                token.trusted = False
            out.timestamps.append(_report(token))
            out.evidence += token.evidence
            out.needs += token.needs
        clause = "Circular 15/2025/TT-BKHCN Art 6 (V5); ETSI EN 319 102-1 5.5"
        trusted = [token.time for token in tokens if token.trusted and token.time is not None]
        proofs = [*trusted, *later]
        out.proven = min(proofs) if proofs else None
        bad = [one for one in out.timestamps if not one.trusted]
        if bad:
            reason = "timestamp-broken" if any(not one.imprint_ok for one in bad) else "timestamp-not-trusted"
            out.rows.append(doubtful("timestamp", clause, reason, bad[0].sub_indication or Sub.NO_POE))
        elif tokens:
            out.rows.append(passed("timestamp", clause, time=str(min(trusted).isoformat()) if trusted else ""))
        elif later:
            out.rows.append(notice("timestamp", clause, "only-document-timestamp"))
        else:
            out.rows.append(notice("timestamp", clause, "no-timestamp"))
        for token in tokens:
            SignatureJudge._remember(token, self._standing.material)
        return tokens

    @staticmethod
    def _remember(token: Token, material: Material) -> None:
        for certificate in token.certificates:
            material.add_certificate(certificate)

    def _signing_time(self, out: Judged, found: Cms) -> None:
        """App. II 1.1, first half: the signing time lies inside the certificate's life."""
        clause = f"{APP_II} 1.1"
        not_before, not_after = validity(found.signer)
        moment = out.proven or self._now
        span = {"not_before": not_before.isoformat(), "not_after": not_after.isoformat()}
        claimed_after = out.claimed is not None and out.claimed > not_after
        if moment < not_before:
            out.rows.append(failed("signing-time", clause, "not-yet-valid", Sub.NOT_YET_VALID, **span))
        elif moment > not_after:
            if out.proven is not None and claimed_after:
                out.rows.append(failed("signing-time", clause, "expired-then", Sub.EXPIRED, **span))
            else:
                reason = "expired-and-unproven" if out.proven is None else "proven-only-after-expiry"
                out.rows.append(doubtful("signing-time", clause, reason, Sub.OUT_OF_BOUNDS_NO_POE, **span))
        elif out.claimed is not None and out.claimed > moment + SKEW:
            out.rows.append(notice("signing-time", clause, "claimed-after-proven", **span))
        else:
            out.rows.append(passed("signing-time", clause, **span))

    async def _certificate(self, out: Judged, found: Cms) -> None:
        """V2 path, App. II 1.1 and 1.2 status, 1.4 to 1.6 scope, 2.1 signer, at the proven moment."""
        signer: Any = found.signer
        moment = out.proven or self._now
        not_before, not_after = validity(signer)
        inside = min(max(moment, not_before), not_after)
        path = await self._standing.path(signer, inside)
        clause = "Circular 15/2025/TT-BKHCN Art 6 (V2); RFC 5280 6.1"
        out.certificate = people.certificate(signer, path.certificates[-1] if path.whole else None)
        if path.whole:
            out.anchor = path.certificates[-1].sha256.hex()
            out.rows.append(passed("path", clause, anchor=people.party(path.certificates[-1].subject).name))
        elif path.fault == "no-path":
            reason = "no-anchors" if not self._standing.anchors else "no-path"
            out.rows.append(
                doubtful(
                    "path", clause, reason, Sub.NO_CERTIFICATE_CHAIN_FOUND, issuer=people.party(signer.issuer).name
                )
            )
        else:
            out.rows.append(
                doubtful("path", clause, path.fault or "path-invalid", Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE)
            )
        self._status(out, path.certificates, moment)
        self._scope(out, signer)
        out.rows.append(_signer_row(out.certificate))
        if not_after - not_before > trust.LONGEST_SUBSCRIBER_LIFE:
            out.rows.append(
                notice(
                    "lifetime",
                    "Decree 23/2025/ND-CP Art 4",
                    "longer-than-three-years",
                    days=str((not_after - not_before).days),
                )
            )
        else:
            out.rows.append(passed("lifetime", "Decree 23/2025/ND-CP Art 4"))

    def _status(self, out: Judged, path: Sequence[Any], moment: datetime) -> None:
        checked = False
        for certificate, issuer in pairwise(path):
            leaf = certificate is path[0]
            status = self._standing.status(certificate, issuer, moment)
            out.evidence.append(evidence_of(status, "signer" if leaf else "issuer"))
            checked = True
            if not status.known:
                out.needs.append(need_of(certificate, issuer))
            row = status_row("status" if leaf else "issuer-status", status, leaf, moment, Sub.REVOKED_NO_POE)
            out.rows.append(self._revoked_for_sure(out, row, status) if leaf else row)
        if not checked and path and not self._standing.is_anchor(path[0]):
            out.rows.append(
                doubtful(
                    "status",
                    f"{APP_II} 1.2",
                    "no-evidence",
                    Sub.TRY_LATER,
                    certificate=people.party(path[0].subject).name,
                )
            )
            out.needs.append(need_of(path[0], None))

    @staticmethod
    def _revoked_for_sure(out: Judged, row: CheckFinding, status: Status) -> CheckFinding:
        """Both the proof and the signer's own claim come after the revocation: then it has failed (App. II 1.1).

        When the claim lies before it, the signature may have been made in time: EN 319 102-1 says REVOKED_NO_POE.
        """
        if row.sub is not Sub.REVOKED_NO_POE or status.revoked_at is None:
            return row
        if out.claimed is not None and out.claimed >= status.revoked_at:
            return failed("status", f"{APP_II} 1.1", row.reason or "revoked-then", Sub.REVOKED, **row.detail)
        return row

    def _scope(self, out: Judged, signer: Any) -> None:
        clause = f"{APP_II} 1.4"
        usage = set(signer.key_usage_value.native) if signer.key_usage_value is not None else None
        if signer.ca:
            out.rows.append(doubtful("scope", clause, "is-an-authority", Sub.CHAIN_CONSTRAINTS_FAILURE))
        elif usage is not None and not usage & {"digital_signature", "non_repudiation"}:
            out.rows.append(doubtful("scope", clause, "not-for-signing", Sub.CHAIN_CONSTRAINTS_FAILURE))
        elif usage is not None and "non_repudiation" not in usage:
            out.rows.append(notice("scope", clause, "no-commitment"))
        elif usage is None:
            out.rows.append(notice("scope", clause, "no-key-usage"))
        else:
            out.rows.append(passed("scope", clause))
        clause = f"{APP_II} 1.5"
        extended = signer.extended_key_usage_value
        names = {str(each) for each in extended.native} if extended is not None else None
        if names is not None and not names & _DOCUMENT_PURPOSES:
            out.rows.append(
                doubtful(
                    "extended-usage",
                    clause,
                    "purpose-does-not-fit",
                    Sub.CHAIN_CONSTRAINTS_FAILURE,
                    found=", ".join(sorted(names))[:200],
                )
            )
        elif names is None:
            out.rows.append(skipped("extended-usage", clause, "none-stated"))
        else:
            out.rows.append(passed("extended-usage", clause))
        clause = f"{APP_II} 1.6"
        policies = signer.certificate_policies_value
        found = [str(each["policy_identifier"].dotted) for each in policies] if policies is not None else []
        if found:
            out.rows.append(passed("policy", clause, policy=", ".join(found[:5])))
        else:
            out.rows.append(skipped("policy", clause, "none-stated"))


def _missing_for_b(out: Judged, found: Cms, sub_filter: str | None) -> str | None:
    """What keeps the signature from being a PAdES baseline signature at all (EN 319 142-1 clause 6.3)."""
    if sub_filter != PADES:
        return "not-pades"
    if cms.ess_fault(found) is not None:
        return "ess-missing"
    if cms.signing_time(found) is not None:
        return "signing-time-attribute"
    if out.claimed is None:
        return "no-claimed-time"
    return None if out.integrity is Integrity.INTACT else "not-intact"


def _signer_row(certificate: SeenCertificate) -> CheckFinding:
    clause = f"{APP_II} 2.1"
    if certificate.subject.name in ("?", ""):
        return doubtful("signer", clause, "nameless", Sub.SIG_CONSTRAINTS_FAILURE)
    if not certificate.subject.identifiers:
        return notice("signer", clause, "no-identifier", name=certificate.subject.name)
    return passed("signer", clause, name=certificate.subject.name)


def _report(token: Token) -> TimestampReport:
    indication, sub = token.conclusion()
    return TimestampReport(
        kind="signature",
        time=token.time,
        authority=token.authority,
        anchor=token.anchor,
        imprint_ok=token.imprint_ok,
        trusted=token.trusted,
        integrity=Integrity.INTACT if token.imprint_ok else Integrity.BROKEN,
        indication=indication,
        sub_indication=sub,
        findings=token.rows(),
        evidence=tuple(token.evidence),
    )


__all__ = ["Judged", "SignatureJudge", "SignatureReport", "Stamp", "judge_stamp"]
