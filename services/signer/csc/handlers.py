"""The CSC API's operations, each kind in a module of its own. An approval names its hashes; a SAD is for one use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from services.runtime.clock import Clock
from services.signer.csc.answers import Answers
from services.signer.csc.authorization import Authorizations
from services.signer.csc.credentials import Credentials
from services.signer.csc.guesses import Guesses
from services.signer.csc.model import Client
from services.signer.csc.ports import Books
from services.signer.csc.signing import Signatures
from services.signer.csc.tokens import Tokens
from services.signer.ports import Approvals, KeyStore, PadesWriter, StatusSource, TimestampAuthority, Vault


@dataclass(frozen=True)
class Server:
    """The operations, by what a client does one after the other."""

    tokens: Tokens
    credentials: Credentials
    authorizations: Authorizations
    signatures: Signatures
    answers: Answers


def server(
    *,
    clients: Mapping[str, Client],
    books: Books,
    approvals: Approvals,
    keys: KeyStore,
    status: StatusSource,
    writer: PadesWriter,
    authority: TimestampAuthority,
    vault: Vault,
    clock: Clock,
    owner: str,
) -> Server:
    """The operations over the signer's ports. `clients` are those of the settings, `owner` names this process."""
    credentials = Credentials(books, vault, clock)
    signatures = Signatures(credentials, books, keys, status, writer, authority, vault, clock, asyncio.Event())
    return Server(
        Tokens(clients, books, clock, Guesses(clock)),
        credentials,
        Authorizations(clients, credentials, books, approvals, clock),
        signatures,
        Answers(signatures, books, clock, owner),
    )
