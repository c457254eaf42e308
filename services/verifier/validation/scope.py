"""Whether a signer's certificate is meant for what it did: scope, purposes, policy, holder and life.

Circular 15/2025/TT-BKHCN App. II 1.4 to 1.6 and 2.1; Decree 23/2025/ND-CP Art 4.
"""

from __future__ import annotations

from domain import trust
from services.verifier.model import CheckFinding, SeenCertificate, Sub, doubtful, notice, passed, skipped
from services.verifier.validation.certificates import Certificate

APP_II = "Circular 15/2025/TT-BKHCN App. II"
_DOCUMENT_PURPOSES = frozenset(
    {
        "document_signing",
        "adobe_authentic_documents_trust",
        "microsoft_document_signing",
        "email_protection",
        "client_auth",
        "any_extended_key_usage",
    }
)
"""Signing documents (RFC 9336), and what authorities write for want of it."""


def rows(signer: Certificate, seen: SeenCertificate) -> list[CheckFinding]:
    """The checks, each a row. Raises Malformed when an extension cannot be read."""
    return [_scope(signer), _purposes(signer), _policy(signer), _holder(seen), _life(signer)]


def _scope(signer: Certificate) -> CheckFinding:
    clause, usages = f"{APP_II} 1.4", signer.usages
    if signer.authority:
        return doubtful("scope", clause, "is-an-authority", Sub.CHAIN_CONSTRAINTS_FAILURE)
    if usages is None:
        return notice("scope", clause, "no-key-usage")
    if not usages & {"digital_signature", "non_repudiation"}:
        return doubtful("scope", clause, "not-for-signing", Sub.CHAIN_CONSTRAINTS_FAILURE)
    if "non_repudiation" not in usages:
        return notice("scope", clause, "no-commitment")
    return passed("scope", clause)


def _purposes(signer: Certificate) -> CheckFinding:
    code, clause, purposes = "extended-usage", f"{APP_II} 1.5", signer.purposes
    if purposes is None:
        return skipped(code, clause, "none-stated")
    if _DOCUMENT_PURPOSES.isdisjoint(purposes):
        found = ", ".join(sorted(purposes))[:200]
        return doubtful(code, clause, "purpose-does-not-fit", Sub.CHAIN_CONSTRAINTS_FAILURE, found=found)
    return passed(code, clause)


def _policy(signer: Certificate) -> CheckFinding:
    code, clause, policies = "policy", f"{APP_II} 1.6", signer.policies
    if policies:
        return passed(code, clause, policy=", ".join(policies[:5]))
    return skipped(code, clause, "none-stated")


def _holder(seen: SeenCertificate) -> CheckFinding:
    code, clause, subject = "signer", f"{APP_II} 2.1", seen.subject
    if subject.name in ("?", ""):
        return doubtful(code, clause, "nameless", Sub.SIG_CONSTRAINTS_FAILURE)
    if not subject.identifiers:
        return notice(code, clause, "no-identifier", name=subject.name)
    return passed(code, clause, name=subject.name)


def _life(signer: Certificate) -> CheckFinding:
    code, clause, life = "lifetime", "Decree 23/2025/ND-CP Art 4", signer.not_after - signer.not_before
    if life > trust.LONGEST_SUBSCRIBER_LIFE:
        return notice(code, clause, "longer-than-three-years", days=str(life.days))
    return passed(code, clause)
