"""Certificate policies along a path, for verifiers that ask for none: only a path that demands one can fail.

RFC 5280 clause 6.1 with the initial set any-policy and no initial inhibition; the tree is kept as the set of policies
that are valid at each depth, which decides the same (RFC 9618).
"""

from __future__ import annotations

from services.verifier.validation.certificates import (
    INHIBIT_ANY_POLICY,
    POLICY_CONSTRAINTS,
    POLICY_MAPPINGS,
    Certificate,
)
from services.verifier.validation.der import Malformed, dotted

ANY = "2.5.29.32.0"


class PolicyState:
    """The state variables of RFC 5280 clause 6.1.2 for a path of `length` certificates below the anchor."""

    def __init__(self, length: int) -> None:
        self._explicit = self._mapping = self._inhibit = length + 1
        self._expected: frozenset[str] = frozenset({ANY})

    def process(self, certificate: Certificate, *, last: bool) -> bool:
        """Take the next certificate from the anchor's side; whether the path may go on. Raises Malformed."""
        own = certificate.policies
        if own is None:
            valid: frozenset[str] = frozenset()
        else:
            anything = ANY in self._expected
            valid = frozenset(one for one in own if one != ANY and (anything or one in self._expected))
            if ANY in own and (self._inhibit > 0 or (not last and certificate.self_issued)):
                valid |= self._expected
        if not valid and self._explicit == 0:
            return False
        if not last:
            valid = self._mapped(certificate, valid)
            self._count(certificate)
        else:
            # RFC 5280 clause 6.1.5 (a) and (b).
            self._explicit = 0 if _required(certificate)[0] == 0 else max(0, self._explicit - 1)
        self._expected = valid
        return bool(valid) or self._explicit > 0

    def _mapped(self, certificate: Certificate, valid: frozenset[str]) -> frozenset[str]:
        node = certificate.extension(POLICY_MAPPINGS)
        if node is None:
            return valid
        mappings: dict[str, set[str]] = {}
        for pair in node.sequence():
            issuers, subjects = (dotted(part.oid()) for part in pair.sequence(2)[:2])
            if ANY in (issuers, subjects):
                raise Malformed("any-policy-mapped")
            mappings.setdefault(issuers, set()).add(subjects)
        out = set(valid) - mappings.keys()
        if self._mapping > 0:
            for issuers, subject_policies in mappings.items():
                if issuers in valid or ANY in valid:
                    out |= subject_policies
        return frozenset(out)

    def _count(self, certificate: Certificate) -> None:
        """RFC 5280 clause 6.1.4 (h) to (j)."""
        if not certificate.self_issued:
            self._explicit, self._mapping, self._inhibit = (
                max(0, each - 1) for each in (self._explicit, self._mapping, self._inhibit)
            )
        explicit, mapping = _required(certificate)
        self._explicit = self._explicit if explicit is None else min(self._explicit, explicit)
        self._mapping = self._mapping if mapping is None else min(self._mapping, mapping)
        node = certificate.extension(INHIBIT_ANY_POLICY)
        if node is not None:
            self._inhibit = min(self._inhibit, max(0, node.integer()))


def _required(certificate: Certificate) -> tuple[int | None, int | None]:
    """(requireExplicitPolicy, inhibitPolicyMapping). Raises Malformed."""
    explicit = mapping = None
    node = certificate.extension(POLICY_CONSTRAINTS)
    for part in node.sequence() if node is not None else ():
        value = max(0, int.from_bytes(part.contents[:8], "big", signed=True))
        if part.tag == 0x80:
            explicit = value
        elif part.tag == 0x81:
            mapping = value
    return explicit, mapping
