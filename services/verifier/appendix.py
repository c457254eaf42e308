"""The checks of Circular 15/2025/TT-BKHCN, Appendix II, one row each, answered by the findings of a signature. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.verifier.catalogue import Text
from services.verifier.model import CheckFinding, Outcome, SignatureReport

_ITEMS: tuple[tuple[str, Text, tuple[str, ...]], ...] = (
    (
        "1.1",
        Text(
            "Ký trong thời hạn của chứng thư; chứng thư không bị tạm dừng, thu hồi khi đó",
            "Signed within the certificate's validity, and not suspended or revoked then",
        ),
        ("signing-time", "status"),
    ),
    (
        "1.2",
        Text("Trạng thái chứng thư theo CRL hoặc OCSP", "Status of the certificate by CRL or OCSP"),
        ("status", "issuer-status"),
    ),
    ("1.3", Text("Thuật toán mật mã được phép dùng", "Permitted algorithms"), ("algorithms",)),
    ("1.4", Text("Phạm vi sử dụng của chứng thư", "Scope of use of the certificate"), ("scope",)),
    ("1.5", Text("Mục đích sử dụng khóa (KU, EKU)", "Key usage and extended key usage"), ("extended-usage",)),
    ("1.6", Text("Quy chế chứng thực", "Certification practice statement"), ("policy",)),
    ("2.1", Text("Thông tin người ký", "The signer's information"), ("signer",)),
    ("2.2", Text("Khóa khớp với chữ ký", "The key matches the signature"), ("key-match",)),
    (
        "2.3",
        Text("Chứng thư có hiệu lực khi ký", "The certificate was valid at signing"),
        ("path", "signing-time", "status"),
    ),
    ("2.4", Text("Mã băm trùng khớp", "The hash is equal"), ("hash-equal",)),
)
_ORDER = (Outcome.SKIPPED, Outcome.PASSED, Outcome.NOTICE, Outcome.UNDETERMINED, Outcome.FAILED)


@dataclass(frozen=True)
class Row:
    """One item of the appendix and how it came out."""

    number: str
    name: Text
    outcome: Outcome
    findings: tuple[CheckFinding, ...]
    """The checks that answer it, those that decide it alone; none when nothing answers it."""


def rows(one: SignatureReport) -> tuple[Row, ...]:
    """Every item from 1.1 to 2.4, in order; an item that no check answers does not apply (`skipped`)."""
    found = []
    for number, name, codes in _ITEMS:
        answers = [finding for finding in one.findings if finding.code in codes]
        outcome = max((finding.outcome for finding in answers), key=_ORDER.index, default=Outcome.SKIPPED)
        found.append(Row(number, name, outcome, tuple(each for each in answers if each.outcome is outcome)))
    return tuple(found)
