"""One signature judged in the order of EN 319 102-1: format, cryptography, certificate, time, path, status, level.

Each step leaves a numbered row with its clause; the checks of Circular 15/2025/TT-BKHCN App. II are rows of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise

from domain import trust
from services.verifier.model import (
    CheckFinding,
    Integrity,
    MissingStatus,
    Outcome,
    SeenCertificate,
    StatusEvidence,
    Sub,
    TimestampReport,
    doubtful,
    failed,
    notice,
    numbered,
    passed,
    skipped,
)
from services.verifier.pdf.document import SecurityStore
from services.verifier.validation import levels, people, scope
from services.verifier.validation.algorithms import PKCS1, CryptoFault, Scheme, digest_of, same, verifies
from services.verifier.validation.certificates import Certificate
from services.verifier.validation.cms import DATA, Cms, CmsFault
from services.verifier.validation.der import Malformed, parse
from services.verifier.validation.revocation import SKEW, Standing, Status
from services.verifier.validation.scope import APP_II
from services.verifier.validation.tokens import (
    BAD,
    Token,
    chain_acceptances,
    evidence_of,
    judge_token,
    need_of,
    status_row,
)

PADES, PKCS7_SHA1, RSA_SHA1 = "ETSI.CAdES.detached", "adbe.pkcs7.sha1", "adbe.x509.rsa_sha1"
_SUPPORTED = frozenset({None, PADES, "adbe.pkcs7.detached", PKCS7_SHA1})


@dataclass(frozen=True)
class Covered:
    """The bytes that a ByteRange covers, hashed once for each algorithm."""

    parts: tuple[memoryview, memoryview]
    _digests: dict[str, bytes | None] = field(default_factory=dict)

    def digest(self, name: str) -> bytes | None:
        """Their digest, or none when the algorithm is not known."""
        if name not in self._digests:
            self._digests[name] = digest_of(name, *self.parts)
        return self._digests[name]

    @cached_property
    def joined(self) -> bytes:
        """All of them."""
        return b"".join(self.parts)


@dataclass(frozen=True)
class Claim:
    """What the PDF says of one signature."""

    covered: Covered | None
    """None when the byte rules have already broken it: its digest means nothing."""
    contents: bytes | None
    sub_filter: str | None
    claimed: datetime | None
    revision: int | None
    certificates: tuple[bytes, ...] = ()
    """The `/Cert` entry of adbe.x509.rsa_sha1."""


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

    def broken(self, finding: CheckFinding) -> None:
        """The signature does not fit the bytes, or cannot be used as one."""
        self.rows.append(finding)
        self.integrity = Integrity.BROKEN


@dataclass(frozen=True)
class SignatureJudge:
    """Judges signatures of one file against one standing."""

    standing: Standing
    stores: Sequence[SecurityStore]

    def judge(
        self,
        found: Cms | CmsFault | None,
        claim: Claim,
        covering: Sequence[Token],
        after: Sequence[tuple[Token, int]],
    ) -> Judged:
        """Judge one signature; never raises for what is in it.

        `covering` are the document timestamps over it that stand in an unchanged file, `after` those that fit their
        bytes, with their revisions.
        """
        out = Judged(claimed=claim.claimed)
        try:
            self._judge(out, found, claim, covering, after)
        except Malformed as fault:
            # A certificate on the way cannot be read: one bad signature does not hide the others.
            if not any(row.code == "key-match" and row.outcome is Outcome.PASSED for row in out.rows):
                out.integrity = Integrity.BROKEN
            clause, reason = "ETSI EN 319 102-1 5.1", "cannot-be-verified"
            out.rows.append(doubtful("judged", clause, reason, Sub.POLICY_PROCESSING_ERROR, fault=fault.reason))
        return out

    def _judge(
        self,
        out: Judged,
        found: Cms | CmsFault | None,
        claim: Claim,
        covering: Sequence[Token],
        after: Sequence[tuple[Token, int]],
    ) -> None:
        kind = claim.sub_filter
        if kind == RSA_SHA1 and claim.covered is not None and claim.contents is not None:
            _old_pkcs1(out, claim.covered, claim.certificates, claim.contents)
            return
        clause = "ETSI EN 319 102-1 5.2.2"
        if kind not in _SUPPORTED:
            out.unsupported = True
            reason = "sub-filter-unsupported"
            out.rows.append(doubtful("format", "ISO 32000-2 12.8.3.1", reason, Sub.FORMAT_FAILURE, found=str(kind)))
        if not isinstance(found, Cms):
            reason, detail = (found.reason, found.detail) if found is not None else ("contents-missing", {})
            out.broken(failed("format", clause, reason, Sub.FORMAT_FAILURE, **detail))
            return
        if not out.unsupported:
            out.rows.append(passed("format", clause, found=kind or "-"))
        out.digest_algorithm, out.signature_algorithm = found.digest_algorithm, found.scheme.name
        if out.claimed is None:
            out.claimed = found.signing_time
        _cryptography(out, found, claim)
        _signing_certificate(out, found, kind)
        signer = found.signer
        if signer is None:
            out.rows.append(self._algorithms(out, found))
            return
        out.certificate = people.certificate(signer, None)
        # What is weak at the proven time decides before the timestamps do: their rows come after it.
        before = len(out.rows)
        tokens = self._timestamps(out, found, signer, claim, covering)
        out.rows.insert(before, self._algorithms(out, found))
        _signing_time(out, signer, self.standing.now)
        self._certificate(out, signer)
        missing = _missing_for_b(out, found, kind)
        reached = levels.reached(
            signer, self.standing, tokens, self.stores, after, revision=claim.revision, missing=missing
        )
        out.level = reached.level
        out.rows.append(reached.row)

    def _timestamps(
        self, out: Judged, found: Cms, signer: Certificate, claim: Claim, covering: Sequence[Token]
    ) -> list[Token]:
        """Signature timestamps, then the earliest trusted moment (EN 319 102-1 clause 5.5)."""
        later = [token.time for token in covering if token.trusted and token.time]
        control = min([self.standing.now, *later])
        tokens = [
            judge_token(token, lambda name: digest_of(name, found.value), self.standing, control)
            for token in found.tokens
        ]
        if found.unsigned_fault:
            damaged = failed("token-format", "RFC 3161 A", "cms-unreadable", Sub.FORMAT_FAILURE)
            tokens.append(Token(findings=[damaged]))
        for token in tokens:
            if token.trusted and token.time is not None and token.time < signer.not_before - SKEW:
                clause, reason = "ETSI EN 319 102-1 5.5", "before-certificate"
                token.distrust(doubtful("token-order", clause, reason, Sub.TIMESTAMP_ORDER_FAILURE))
            self._keep(out, "signature", token)
        clause = "Circular 15/2025/TT-BKHCN Art 6 (V5); ETSI EN 319 102-1 5.5"
        trusted = [token.time for token in tokens if token.trusted and token.time is not None]
        out.proven = min([*trusted, *later], default=None)
        bad = [token for token in tokens if not token.trusted]
        if bad:
            reason = "timestamp-broken" if any(not one.imprint_ok for one in bad) else "timestamp-not-trusted"
            out.rows.append(doubtful("timestamp", clause, reason, bad[0].conclusion()[1] or Sub.NO_POE))
        elif tokens:
            out.rows.append(passed("timestamp", clause, time=min(trusted).isoformat()))
        elif later:
            out.rows.append(notice("timestamp", clause, "only-document-timestamp"))
        else:
            out.rows.append(notice("timestamp", clause, "no-timestamp"))
        self._content_timestamps(out, found, claim, control)
        return tokens

    def _content_timestamps(self, out: Judged, found: Cms, claim: Claim, control: datetime) -> None:
        """What the signer had stamped before signing (EN 319 122-1 clause 5.2.8): no proof of the signature."""
        covered = claim.covered
        if covered is None:
            return
        for each in found.content_tokens:
            token = judge_token(each, covered.digest, self.standing, control)
            if token.trusted and token.time and out.proven and token.time > out.proven + SKEW:
                clause, reason = "ETSI EN 319 102-1 5.5", "content-stamped-after-signature"
                token.distrust(doubtful("token-order", clause, reason, Sub.TIMESTAMP_ORDER_FAILURE))
            self._keep(out, "content", token)
            if not token.imprint_ok:
                clause, sub = "ETSI EN 319 122-1 5.2.8", token.conclusion()[1] or Sub.HASH_FAILURE
                out.rows.append(doubtful("content-timestamp", clause, "timestamp-broken", sub))

    @staticmethod
    def _keep(out: Judged, kind: str, token: Token) -> None:
        indication, sub = token.conclusion()
        out.timestamps.append(
            TimestampReport(
                kind=kind,
                time=token.time,
                authority=token.authority,
                anchor=token.anchor,
                imprint_ok=token.imprint_ok,
                trusted=token.trusted,
                integrity=Integrity.INTACT if token.imprint_ok else Integrity.BROKEN,
                indication=indication,
                sub_indication=sub,
                findings=numbered(token.findings),
                evidence=tuple(token.evidence),
            )
        )
        out.evidence += token.evidence
        out.needs += token.needs

    def _algorithms(self, out: Judged, found: Cms) -> CheckFinding:
        """App. II 1.3: algorithms of App. I at the proven time; weak ones of the signature itself fail.

        Weak ones above it in the chain leave a doubt (EN 319 102-1 clause 5.2.8: CRYPTO_CONSTRAINTS_FAILURE).
        """
        code, clause = "algorithms", f"{APP_II} 1.3"
        moment, paths = out.proven or self.standing.now, self.standing.paths
        own = [one.at(moment) for one in found.algorithms()]
        chain = chain_acceptances(paths.chain(found.signer), paths) if found.signer is not None else []
        worst, above = trust.worst(own), trust.worst(one.at(moment) for one in chain)
        if worst is None:  # pragma: no cover - the digest always stands on some list
            return skipped(code, clause, "none-stated")
        where, sub, what = f"{clause}; {worst.clause}", Sub.CRYPTO_CONSTRAINTS_FAILURE, worst.algorithm
        if worst.grade is trust.Grade.FORBIDDEN:
            return failed(code, where, "algorithm-forbidden", sub, algorithm=what)
        if worst.grade is trust.Grade.UNLISTED:
            return doubtful(code, where, worst.reason or "algorithm-unlisted", sub, algorithm=what)
        if above is not None and above.grade in BAD:
            where = f"{clause}; {above.clause}"
            return doubtful(code, where, "algorithm-in-chain", sub, algorithm=above.algorithm)
        if worst.grade is trust.Grade.NOTICE:
            return notice(code, where, worst.reason or "algorithm-noticed", algorithm=what)
        named = ", ".join(dict.fromkeys(one.algorithm for one in own))
        return passed(code, where, algorithm=named)

    def _certificate(self, out: Judged, signer: Certificate) -> None:
        """V2 path, App. II 1.1 and 1.2 status, 1.4 to 1.6 scope, 2.1 signer, at the proven moment."""
        moment = out.proven or self.standing.now
        inside = min(max(moment, signer.not_before), signer.not_after)
        path = self.standing.paths.find(signer, inside)
        clause = "Circular 15/2025/TT-BKHCN Art 6 (V2); RFC 5280 6.1"
        anchor = path.certificates[-1] if path.whole else None
        seen = out.certificate = people.certificate(signer, anchor)
        if anchor is not None:
            out.anchor = anchor.sha256.hex()
            out.rows.append(passed("path", clause, anchor=people.party(anchor.subject).name))
        elif path.fault == "no-path":
            reason, issuer = "no-path" if self.standing.paths.anchors else "no-anchors", people.party(signer.issuer)
            out.rows.append(doubtful("path", clause, reason, Sub.NO_CERTIFICATE_CHAIN_FOUND, issuer=issuer.name))
        else:
            reason = path.fault or "path-invalid"
            out.rows.append(doubtful("path", clause, reason, Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE))
        self._status(out, path.certificates, moment, trusted=anchor is not None)
        out.rows += scope.rows(signer, seen)

    def _status(self, out: Judged, path: Sequence[Certificate], moment: datetime, *, trusted: bool) -> None:
        """Status of each certificate on the path. Only addresses in trusted ones are ever to be called: the others are
        whatever a stranger wrote there.
        """
        for certificate, issuer in pairwise(path):
            leaf = certificate is path[0]
            status = self.standing.status(certificate, issuer, moment)
            out.evidence.append(evidence_of(status, "signer" if leaf else "issuer"))
            if not status.known and trusted:
                out.needs.append(need_of(certificate, issuer))
            row = status_row("status" if leaf else "issuer-status", status, leaf, moment, Sub.REVOKED_NO_POE)
            out.rows.append(_revoked_for_sure(out, row, status) if leaf else row)
        if len(path) == 1 and not self.standing.paths.is_anchor(path[0]):
            who = people.party(path[0].subject).name
            out.rows.append(doubtful("status", f"{APP_II} 1.2", "no-evidence", Sub.TRY_LATER, certificate=who))


def _old_pkcs1(out: Judged, covered: Covered, certificates: Sequence[bytes], contents: bytes) -> None:
    """adbe.x509.rsa_sha1 (ISO 32000-1 12.8.3.2): deprecated, SHA-1; its bytes can be checked, it proves nothing."""
    out.unsupported = True
    out.digest_algorithm, out.signature_algorithm = "sha1", PKCS1
    clause, code = "ISO 32000-2 12.8.3.2", "key-match"
    try:
        signer = Certificate(certificates[0] if certificates else b"")
        out.certificate = people.certificate(signer, None)
        fits = verifies(signer.spki, Scheme(PKCS1, "sha1"), parse(contents).octets(), covered.joined)
    except Malformed as fault:
        out.broken(failed("format", clause, "cms-unreadable", Sub.FORMAT_FAILURE, fault=fault.reason))
        return
    except CryptoFault as fault:
        out.broken(failed(code, f"{APP_II} 2.2", fault.reason, Sub.SIG_CRYPTO_FAILURE, **fault.detail))
        return
    if not fits:
        out.broken(failed(code, f"{APP_II} 2.2", "signature-does-not-fit", Sub.SIG_CRYPTO_FAILURE))
        return
    out.rows.append(passed(code, f"{APP_II} 2.2"))
    reason, sub = "algorithm-forbidden", Sub.CRYPTO_CONSTRAINTS_FAILURE
    out.rows.append(failed("algorithms", trust.SP800_131A, reason, sub, algorithm="sha1"))


def _cryptography(out: Judged, found: Cms, claim: Claim) -> None:
    """App. II 2.4 (hash equal) and 2.2 (key match)."""
    code, clause, covered = "hash-equal", f"{APP_II} 2.4", claim.covered
    if covered is None:
        out.integrity = Integrity.BROKEN
        out.rows.append(skipped(code, clause, "byte-range-unusable"))
        return
    content: bytes | None = None
    if claim.sub_filter == PKCS7_SHA1:
        # ISO 32000-1 12.8.3.3.1: the CMS object signs the SHA-1 digest that it encapsulates.
        content = found.encapsulated or b""
        equal = same(covered.digest("sha1"), content)
        if found.attributes:
            equal = equal and same(digest_of(found.digest_algorithm, content), found.message_digest)
    elif found.encapsulated is not None or found.content_type != DATA:
        out.broken(failed(code, "ETSI EN 319 142-1 6.3", "content-encapsulated", Sub.FORMAT_FAILURE))
        return
    elif found.attributes:
        actual = covered.digest(found.digest_algorithm)
        if actual is None:
            reason, sub = "digest-unknown", Sub.CRYPTO_CONSTRAINTS_FAILURE
            out.broken(doubtful(code, clause, reason, sub, algorithm=found.digest_algorithm))
            return
        equal = same(actual, found.message_digest)
    else:
        content, equal = covered.joined, True
    if not equal:
        out.broken(failed(code, clause, "message-digest-differs", Sub.HASH_FAILURE))
        return
    if found.attributes and not found.states_its_content_type:
        out.rows.append(failed("format", "RFC 5652 11.1", "content-type-differs", Sub.FORMAT_FAILURE))
    out.rows.append(passed(code, clause, algorithm=found.digest_algorithm))
    code, clause = "key-match", f"{APP_II} 2.2"
    try:
        fits = found.fits(content)
    except CmsFault as fault:
        out.broken(doubtful(code, clause, fault.reason, Sub.NO_SIGNING_CERTIFICATE_FOUND))
        return
    except CryptoFault as fault:
        out.broken(failed(code, clause, fault.reason, Sub.SIG_CRYPTO_FAILURE, **fault.detail))
        return
    if not fits:
        out.broken(failed(code, clause, "signature-does-not-fit", Sub.SIG_CRYPTO_FAILURE))
        return
    out.rows.append(passed(code, clause, algorithm=found.scheme.name))


def _signing_certificate(out: Judged, found: Cms, sub_filter: str | None) -> None:
    """EN 319 102-1 clause 5.2.3; PAdES requires ESS signing-certificate (EN 319 142-1 clause 6.3)."""
    code, clause = "signing-certificate", "ETSI EN 319 102-1 5.2.3; ETSI EN 319 142-1 6.3"
    fault = found.ess_fault
    if found.signer is None:
        out.rows.append(doubtful(code, clause, "no-signing-certificate", Sub.NO_SIGNING_CERTIFICATE_FOUND))
    elif fault is None:
        out.rows.append(passed(code, clause))
    elif not found.attributes:
        out.rows.append(doubtful(code, clause, "no-signed-attributes", Sub.SIG_CONSTRAINTS_FAILURE))
    elif fault == "ess-missing" and sub_filter != PADES:
        out.rows.append(notice(code, clause, "ess-missing-not-pades"))
    else:
        out.rows.append(doubtful(code, clause, fault, Sub.NO_SIGNING_CERTIFICATE_FOUND))


def _signing_time(out: Judged, signer: Certificate, now: datetime) -> None:
    """App. II 1.1, first half: the signing time lies inside the certificate's life."""
    code, clause, moment = "signing-time", f"{APP_II} 1.1", out.proven or now
    span = {"not_before": signer.not_before.isoformat(), "not_after": signer.not_after.isoformat()}
    if moment < signer.not_before:
        out.rows.append(failed(code, clause, "not-yet-valid", Sub.NOT_YET_VALID, **span))
    elif moment > signer.not_after:
        if out.proven is None:
            out.rows.append(doubtful(code, clause, "expired-and-unproven", Sub.OUT_OF_BOUNDS_NO_POE, **span))
        elif out.claimed is not None and out.claimed > signer.not_after:
            out.rows.append(failed(code, clause, "expired-then", Sub.EXPIRED, **span))
        else:
            out.rows.append(doubtful(code, clause, "proven-only-after-expiry", Sub.OUT_OF_BOUNDS_NO_POE, **span))
    elif out.claimed is not None and out.claimed > moment + SKEW:
        out.rows.append(notice(code, clause, "claimed-after-proven", **span))
    else:
        out.rows.append(passed(code, clause, **span))


def _revoked_for_sure(out: Judged, row: CheckFinding, status: Status) -> CheckFinding:
    """Both the proof and the signer's own claim come after the revocation: then it has failed (App. II 1.1).

    When the claim lies before it, the signature may have been made in time: EN 319 102-1 says REVOKED_NO_POE.
    """
    since = status.revoked_at
    if row.sub is Sub.REVOKED_NO_POE and since is not None and out.claimed is not None and out.claimed >= since:
        return failed("status", f"{APP_II} 1.1", row.reason or "revoked-then", Sub.REVOKED, **row.detail)
    return row


def _missing_for_b(out: Judged, found: Cms, sub_filter: str | None) -> str | None:
    """What keeps the signature from being a PAdES baseline signature at all (EN 319 142-1 clause 6.3)."""
    if sub_filter != PADES:
        return "not-pades"
    if found.ess_fault is not None:
        return "ess-missing"
    if found.signing_time is not None:
        return "signing-time-attribute"
    if out.claimed is None:
        return "no-claimed-time"
    return None if out.integrity is Integrity.INTACT else "not-intact"
