"""Name constraints of certification authorities: which names those below them may carry (RFC 5280 clause 4.2.1.10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.verifier.validation import names
from services.verifier.validation.certificates import NAME_CONSTRAINTS, Certificate
from services.verifier.validation.der import Malformed, Node
from services.verifier.validation.names import GeneralName

MOST_SUBTREES = 500
"""More subtrees on one path than this are not weighed."""


@dataclass(frozen=True)
class NameConstraints:
    """What one certificate permits and excludes."""

    permitted: tuple[GeneralName, ...]
    excluded: tuple[GeneralName, ...]

    @staticmethod
    def of(certificate: Certificate) -> NameConstraints | None:
        """The extension, or none when there is none.

        Raises:
            Malformed: it cannot be read, or uses minimum or maximum (which RFC 5280 forbids).
        """
        node = certificate.extension(NAME_CONSTRAINTS)
        if node is None:
            return None
        trees: dict[int, tuple[GeneralName, ...]] = {0xA0: (), 0xA1: ()}
        for part in node.sequence():
            if part.tag not in trees:
                raise Malformed("no-name-constraints")
            trees[part.tag] = tuple(_subtree(each) for each in part.kids())
        return NameConstraints(trees[0xA0], trees[0xA1])


def _subtree(node: Node) -> GeneralName:
    base, *distance = node.sequence(1)
    if any(part.tag != 0x80 or part.contents.strip(b"\0") for part in distance):
        raise Malformed("distance-in-name-constraints")
    return names.general_name(base)


def allowed(certificate: Certificate, above: Sequence[NameConstraints]) -> bool:
    """Whether every name of the certificate fits all constraints above it.

    A form of name that is constrained but not understood here is not allowed (RFC 5280 clause 4.2.1.10).

    Raises:
        Malformed: a name cannot be read, or there are too many subtrees.
    """
    if sum(len(each.permitted) + len(each.excluded) for each in above) > MOST_SUBTREES:
        raise Malformed("too-many-subtrees")
    carried = _names(certificate)
    for constraints in above:
        for name in carried:
            kind = name.choice
            permitted = [tree.value for tree in constraints.permitted if tree.choice == kind]
            excluded = [tree.value for tree in constraints.excluded if tree.choice == kind]
            if not permitted and not excluded:
                continue
            within = _WITHIN.get(kind)
            if within is None:
                return False
            if permitted and not any(within(name.value, tree) for tree in permitted):
                return False
            if any(within(name.value, tree) for tree in excluded):
                return False
    return True


def _names(certificate: Certificate) -> list[GeneralName]:
    found = list(certificate.alternative_names)
    if not names.is_empty(certificate.subject):
        found.append(GeneralName(names.DIRECTORY, certificate.subject))
    if not any(name.choice == names.RFC822 for name in found):
        found += [
            GeneralName(names.RFC822, address.encode())
            for kind, address in names.pairs(certificate.subject)
            if kind == names.EMAIL
        ]
    return found


def _directory_within(name: bytes, tree: bytes) -> bool:
    below, base = names.key(name), names.key(tree)
    return below[: len(base)] == base


def _domain_within(name: bytes, tree: bytes) -> bool:
    host, base = _ascii(name).rstrip("."), _ascii(tree).strip(".")
    return not base or host == base or host.endswith(f".{base}")


def _host_within(host: str, base: str) -> bool:
    """For mail and addresses: a leading dot means hosts below, none means that very host."""
    return host.endswith(base) and host != base[1:] if base.startswith(".") else host == base


def _mail_within(name: bytes, tree: bytes) -> bool:
    base = _ascii(tree)
    local, _, host = name.decode("latin-1").rpartition("@")
    if "@" in base:
        wanted_local, _, wanted_host = tree.decode("latin-1").rpartition("@")
        return local == wanted_local and host.lower() == wanted_host.lower()
    return _host_within(host.lower(), base)


def _address_within(name: bytes, tree: bytes) -> bool:
    try:
        host = urlsplit(_ascii(name)).hostname
    except ValueError as fault:
        raise Malformed("no-address") from fault
    if not host:
        raise Malformed("address-without-host")
    return _host_within(host, _ascii(tree))


def _ip_within(name: bytes, tree: bytes) -> bool:
    if len(tree) not in (8, 32):
        raise Malformed("no-ip-range")
    half = len(tree) // 2
    if len(name) != half:
        return False
    base, mask = tree[:half], tree[half:]
    return all(octet & bits == wanted & bits for octet, wanted, bits in zip(name, base, mask, strict=True))


def _ascii(value: bytes) -> str:
    try:
        return value.decode("ascii").lower()
    except UnicodeDecodeError as fault:
        raise Malformed("name-not-ascii") from fault


_WITHIN: dict[int, Callable[[bytes, bytes], bool]] = {
    names.DIRECTORY: _directory_within,
    names.DNS: _domain_within,
    names.RFC822: _mail_within,
    names.URI: _address_within,
    names.IP: _ip_within,
}
