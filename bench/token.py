"""How many signatures a second does a PKCS#11 token give, by the number of sessions it is used through?

Usage: python -m bench.token [--seconds S] [--sessions 1,2,4]. SoftHSM with a throw-away token stands for the HSM: it
signs on this machine's processors, so that its figures end with them. RSA-3072 (PSS) and P-256; the pools take turns,
round after round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from bench.table import publish
from events.values import CredentialId
from services.signer.adapters.pkcs11_keys import Pkcs11Keys
from services.signer.model import SigningAlgorithm
from tests.support.permits import permit
from tests.support.tokens import configuration, initialised

ROUNDS = 5


async def rate(keys: Pkcs11Keys, credential: CredentialId, algorithm: SigningAlgorithm, seconds: float) -> float:
    """Signatures a second with more callers than sessions."""
    allowed = permit(credential, algorithm)
    done = 0
    end = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await keys.sign(allowed)
            done += 1

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(16)))
    return done / (time.perf_counter() - begun)


async def main(seconds: float, pools: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SOFTHSM2_CONF"] = str(configuration(Path(folder)))
        token = initialised(Path(folder), "bench")
        stores = {pool: Pkcs11Keys(token.module, token.label, token.pin_file, pool) for pool in pools}
        found: dict[str, dict[int, float]] = {}
        for algorithm in (SigningAlgorithm.RSA_3072_PSS, SigningAlgorithm.P256):
            one = CredentialId(str(uuid.uuid4()))
            await stores[pools[0]].create(one, algorithm)
            rates: dict[int, list[float]] = {pool: [] for pool in pools}
            for _ in range(ROUNDS):
                for pool, keys in stores.items():
                    rates[pool].append(await rate(keys, one, algorithm, seconds / ROUNDS))
            found[algorithm.value] = {pool: statistics.median(all_of_it) for pool, all_of_it in rates.items()}
        for keys in stores.values():
            await keys.close()
    title = f"signatures a second, by sessions ({os.cpu_count()} processors)"
    rows = [[name, *by_pool.values()] for name, by_pool in found.items()]
    publish(
        "token", title, ["key", *(str(pool) for pool in pools)], rows, {"processors": os.cpu_count(), "rates": found}
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--sessions", default="1,2,4")
    given = parser.parse_args()
    asyncio.run(main(given.seconds, [int(one) for one in given.sessions.split(",")]))
