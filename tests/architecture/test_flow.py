"""The flow table is what is built: the groups that listen, who says what, and that data flow one way."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from cli.composition import compose
from cli.demo import outside_of
from cli.installation import Installation
from events.flow import TOPICS, groups, service_of
from lab.world import World
from tools.real.child import free_port

ROOT = Path(__file__).parents[2]


async def test_the_groups_that_listen_are_those_of_the_flow(tmp_path: Path) -> None:
    async with World(tmp_path / "lab") as world:
        made = compose(Installation.at(tmp_path / "data"), outside_of(world), free_port(), environment={})
        try:
            listening = {one.group: tuple(sorted(one.topics)) for s in made.services for one in s.subscribers}
            listening |= {one.group: (one.topic,) for s in made.services for one in s.inlets}
        finally:
            await made.platform.database.close()
    assert listening == {group: tuple(sorted(topics)) for group, topics in groups().items()}


def test_without_its_ways_back_the_flow_has_no_circle() -> None:
    hears: dict[str, set[str]] = {}
    for topic in TOPICS.values():
        for service in topic.services:
            if service != topic.says and service not in topic.way_back:
                hears.setdefault(service, set()).add(topic.says)
    order = list(TopologicalSorter(hears).static_order())
    assert order.index("ca_bridge") < order.index("contracts") < order.index("signer") < order.index("verifier")


@pytest.mark.parametrize("family", sorted(TOPICS))
def test_only_the_speaker_makes_a_family_s_facts(family: str) -> None:
    """A fact made in another service would be said by somebody the flow does not name."""
    module = ast.parse((ROOT / "events" / f"{family}.py").read_text())
    facts = {one.name for one in module.body if isinstance(one, ast.ClassDef)}
    makers = set()
    for path in (ROOT / "services").rglob("*.py"):
        service = path.relative_to(ROOT / "services").parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in facts:
                makers.add(service)
    said = {one for one in makers if one != service_of(TOPICS[family].says)}
    assert said == set(), f"{family} facts are made by {said}"
    assert makers
