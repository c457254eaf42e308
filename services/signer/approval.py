"""One approval of several things at once: an activation over the Merkle root of their digests, for one credential."""

from __future__ import annotations

from collections.abc import Sequence

from domain.activation import Activation, Purpose, check_activation, hashes_txn
from domain.merkle import Tree
from events.errors import Refused
from events.values import Digest
from services.runtime.clock import Clock
from services.signer.ports import Approvals, Credential, CredentialState


async def approved(
    token: str,
    known: Credential,
    digests: Sequence[Digest],
    purpose: Purpose,
    *,
    approvals: Approvals,
    clock: Clock,
) -> Activation:
    """The activation, if it approves exactly these digests in this order, with this credential, by its holder.

    The caller redeems its `jti` once (EN 419241-1, SCAL2; Law 20/2023/QH15 Art 22).

    Raises:
        Refused: the credential is not in good standing, or the activation says anything else.
        Unavailable: the authority's keys cannot be had.
    """
    in_good_standing(known)
    activation = await approvals.claims(token.encode())
    check_activation(
        activation,
        now=clock.now(),
        issuer=approvals.issuer,
        audience=approvals.audience,
        purpose=purpose,
        digest=Tree([digest.raw for digest in digests]).root,
        txn=hashes_txn(known.credential, len(digests)),
        subject=known.representative or known.identity,
        act_for=known.identity if known.representative is not None else None,
    )
    return activation


def in_good_standing(known: Credential) -> None:
    """Only a bound credential signs.

    Raises:
        Refused: suspended, revoked, or never bound.
    """
    if known.state is not CredentialState.BOUND:
        raise Refused(
            f"certificate-{known.state.value}",
            found=f"a certificate that is {known.state.value}",
            expected="a bound certificate in good standing",
            remedy="lift the suspension or bind a new certificate, then ask again",
            status=403,
        )
