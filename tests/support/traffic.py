"""Many contracts through a running installation, over its API, and the proof that nothing was lost or doubled."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cli.client import Client, Failed
from events.envelope import Event
from events.fact import Fact
from lab.client import Lab
from lab.people import citizen
from services.runtime.clock import SystemClock
from tests.support.pdfs import minimal
from tests.support.waiting import until

SLOTS = ("first", "second")


@dataclass
class Traffic:
    """Two citizens who sign contract after contract. `client` is patient: what dies is asked again."""

    lab: Lab
    client: Client
    count: int
    at_once: int = 16
    patience: float = 600.0
    """Seconds that one step of one contract may take."""
    people: dict[str, str] = field(default_factory=dict)
    done: int = 0

    async def begin(self, recipient: dict[str, Any], url: str) -> None:
        """The citizens get their certificates."""
        await self.lab.connect(url, recipient)
        self.people = {slot: await self.lab.verify_citizen(citizen(i)) for i, slot in enumerate(SLOTS)}
        for subject in self.people.values():

            async def issued(subject: str = subject) -> bool:
                found = (await self.client.get(f"/v1/applications?identity={subject}"))["applications"]
                return any(one["state"] == "issued" for one in found)

            await until(issued, what="a certificate", seconds=120)
            one = (await self.client.get(f"/v1/applications?identity={subject}"))["applications"][-1]
            activation = await self.lab.step_up(subject, "confirm-certificate", one["certificate"], one["application"])
            await self.client.post(f"/v1/applications/{one['application']}/confirm", {"activation": activation})

    async def run(self) -> None:
        """Send, approve and see through every contract, some at once."""
        places = asyncio.Semaphore(self.at_once)

        async def one(index: int) -> None:
            async with places:
                await self._contract(index)
                self.done += 1

        async with asyncio.TaskGroup() as group:
            for index in range(self.count):
                group.create_task(one(index))

    async def _contract(self, index: int) -> None:
        deadline = (SystemClock().now() + timedelta(days=3)).isoformat()
        parties = [{"slot": slot, "identity": self.people[slot], "order": order} for order, slot in enumerate(SLOTS, 1)]
        asked = {"title": f"Contract {index}", "parties": parties, "deadline": deadline, "send": True}
        pdf = minimal(f"Contract number {index}")
        once = str(uuid.uuid4())
        while True:
            try:
                made = await self.client.upload("/v1/contracts", asked, pdf, once=once)
                break
            except Failed as fault:
                if fault.code != "party-without-certificate":  # the contracts have not heard of it yet
                    raise
                await asyncio.sleep(0.2)
        for slot in SLOTS:
            view = await self._seen(made["id"], _turn_of(slot))
            shown = view["revision"]
            activation = await self.lab.step_up(self.people[slot], "sign", shown, f"{made['id']}/{slot}")
            confirmation = {"activation": activation, "shown": shown}
            try:
                await self.client.post(
                    f"/v1/contracts/{made['id']}/slots/{slot}/confirm", confirmation, once=str(uuid.uuid4())
                )
            except Failed as fault:
                # Killed between commit and answer, and asked again: it was taken the first time.
                if fault.code not in ("activation-used", "not-due"):
                    raise
        await self._seen(made["id"], lambda found: found["state"] == "completed")

    async def _seen(self, identifier: str, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The contract once it is so."""
        loop = asyncio.get_running_loop()
        last = loop.time() + self.patience
        found: dict[str, Any] = {}
        while loop.time() < last:
            found = await self.client.get(f"/v1/contracts/{identifier}")
            if enough(found):
                return found
            if found["state"] not in ("sent", "completed"):
                raise AssertionError(f"{identifier} is {found['state']}")
            await asyncio.sleep(0.3)
        raise AssertionError(f"waited in vain for {identifier}: {found.get('state')}, {found.get('waiting_for')}")


@dataclass(frozen=True)
class Balance:
    """What came out of the traffic."""

    expected: int
    signatures: int
    lost: int
    double: int
    faults: tuple[str, ...]
    """Everything else that is not as it must be."""


def balance(events: Sequence[Event[Fact]], contracts: int) -> Balance:
    """Count signatures by (contract, slot), and look for everything that must not be."""
    faults: list[str] = []
    if len({event.id for event in events}) != len(events):
        faults.append("two events with one id")
    count = Counter(
        (event.fact.name(), event.fact.key, str(getattr(event.fact, "slot", "")))
        for event in events
        if event.fact.family in ("contract", "signing", "verification")
    )
    sent = {key for name, key, _ in count if name == "ContractSent"}
    if len(sent) != contracts:
        faults.append(f"{len(sent)} contracts were sent, expected {contracts}")
    for name in ("PartyConfirmed", "SigningRequested", "SignatureVerified"):
        once = {(key, slot): n for (found, key, slot), n in count.items() if found == name}
        wrong = [key for key in ((key, slot) for key in sent for slot in SLOTS) if once.get(key) != 1]
        if wrong or len(once) != len(sent) * len(SLOTS):
            faults.append(f"{name}: {len(wrong)} slots without exactly one")
    completed = {key: n for (name, key, _), n in count.items() if name == "ContractCompleted"}
    if completed != dict.fromkeys(sent, 1):
        faults.append("contracts that were not completed exactly once")
    unwanted = {"SigningRefused", "SignatureRejected", "ContractVoided", "ContractExpired"}
    faults.extend(f"{name} was said" for name in sorted({name for name, _, _ in count if name in unwanted}))
    by_contract: dict[str, list[str]] = {}
    for event in events:
        by_contract.setdefault(event.fact.key, []).append(event.fact.name())
    disordered = [one for one in sent if by_contract[one][0] != "ContractSent" or not _in_order(by_contract[one])]
    if disordered:
        faults.append(f"{len(disordered)} contracts whose facts are out of order")
    signed = {(key, slot): n for (name, key, slot), n in count.items() if name == "DocumentSigned"}
    expected = contracts * len(SLOTS)
    return Balance(
        expected=expected,
        signatures=sum(signed.values()),
        lost=expected - len(signed),
        double=sum(n - 1 for n in signed.values()),
        faults=tuple(faults),
    )


def _in_order(names: Sequence[str]) -> bool:
    """Each signature is asked for, made and verified in this order, and the completion comes last."""
    rank = {"SigningRequested": 0, "DocumentSigned": 1, "SignatureVerified": 2}
    steps = [rank[name] for name in names if name in rank]
    return names[-1] == "ContractCompleted" and steps == [0, 1, 2] * len(SLOTS)


def _turn_of(slot: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: slot in found["waiting_for"]
