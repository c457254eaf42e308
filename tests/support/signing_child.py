"""A process that signs with a key store and then waits to be looked at; its arguments are those of `main`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from pydantic import SecretStr

from events.values import CredentialId
from services.runtime.clock import SystemClock
from services.runtime.outbound import Outbound
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.pkcs11_keys import Pkcs11Keys
from services.signer.model import SigningAlgorithm
from services.signer.ports import KeyStore
from tests.support.csc_provider import Provider
from tests.support.permits import permit
from tests.support.remote import books, csc

CREDENTIAL = CredentialId("6f1f0f5e-0d0c-4b8b-9a54-3d8f6d1f2a10")


async def store(kind: str, place: str, stack: AsyncExitStack) -> KeyStore:
    """The store: a folder of key files, the URL of a CSC provider, or `module label pin-file`."""
    if kind == "file":
        return FileKeys(Path(place), SecretStr("pass phrase"))
    if kind == "csc":
        outbound = await stack.enter_async_context(Outbound(allowed=[place.removeprefix("http://").partition("/")[0]]))
        kept = await stack.enter_async_context(books(Path.cwd()))
        return csc(outbound, Provider(url=place), kept, SystemClock())
    module, label, pin = place.split(" ")
    return await stack.enter_async_context(Pkcs11Keys(Path(module), label, Path(pin), 2))


async def main(kind: str, place: str, algorithm: SigningAlgorithm) -> None:
    async with AsyncExitStack() as stack:
        keys = await store(kind, place, stack)
        await keys.create(CREDENTIAL, algorithm)
        await asyncio.gather(*(keys.sign(permit(CREDENTIAL, algorithm, tail=bytes([n]))) for n in range(10)))
        sys.stdout.write("signed\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], SigningAlgorithm(sys.argv[3])))
