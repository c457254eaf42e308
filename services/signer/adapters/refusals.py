"""What every key store refuses, in one wording."""

from __future__ import annotations

from events.errors import Refused
from services.signer.model import SigningAlgorithm


def key_unknown() -> Refused:
    """There is no key under this credential id."""
    return Refused(
        "key-unknown",
        found="no key under this credential id",
        expected="a credential whose key was made or linked here",
        remedy="create the credential first",
        status=404,
    )


def check_made(found: SigningAlgorithm, asked: SigningAlgorithm) -> None:
    """A credential has one key: asked for again, it must be of the same kind.

    Raises:
        Refused: it is of another.
    """
    if found is not asked:
        raise Refused(
            "credential-exists",
            found=f"a key for {found.value} under this credential id",
            expected=f"none, or one for {asked.value}",
            remedy="use a new credential id",
            status=409,
        )


def check_used(found: SigningAlgorithm, permitted: SigningAlgorithm) -> None:
    """A key signs in one way: the permit must name that.

    Raises:
        Refused: it names another.
    """
    if found is not permitted:
        raise Refused(
            "key-algorithm",
            found=f"a key for {found.value}",
            expected=f"one for {permitted.value}",
            remedy="bind the certificate to the key it was issued for",
        )
