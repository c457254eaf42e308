"""The files for those who have Docker: valid, complete by the flow, pinned, without root and without secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from cli.composition import RUNNABLE
from events.flow import TOPICS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text()))


def test_the_compose_file_is_valid(compose):
    """The Compose Specification's own JSON Schema (tests/vectors/README.md)."""
    schema = json.loads((ROOT / "tests" / "vectors" / "compose-spec.json").read_text())
    judge = jsonschema_rs.validator_for(schema)
    assert [error.message for error in judge.iter_errors(compose)] == []
    broken = {**compose, "services": {**compose["services"], "relay": {"imagine": "x"}}}
    assert not judge.is_valid(broken)


def test_every_service_of_the_flow_runs_and_the_relay_too(compose):
    commands = [service.get("command", []) for service in compose["services"].values()]
    running = {command[1] for command in commands if command[:1] == ["run"]}
    assert running == set(RUNNABLE)
    assert {name for topic in TOPICS.values() for name in topic.services} <= running
    assert [command[1] for command in commands if command[:1] == ["run"]].count("signer") == 2


def test_every_container_is_watched_and_pinned(compose):
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+", service["image"]), f"{name} has no pinned version"
        assert "healthcheck" in service, name
    instances = [
        service["environment"]["ANTIN_KAFKA__INSTANCE"]
        for service in compose["services"].values()
        if service.get("command", [""])[0] == "run"
    ]
    assert len(set(instances)) == len(instances), "two members of a group with one name fence each other"


def test_secrets_are_files(compose):
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    assert not re.search(r"(PASSWORD|SECRET|TOKEN)(?!_FILE)\w*: (?!/run/secrets)", text)
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN", name):
                assert name.endswith("_FILE"), name
                assert str(value).startswith("/run/secrets/"), name


def test_only_loopback_is_opened(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_image_is_pinned_hashed_and_not_root():
    lines = (ROOT / "deploy" / "Containerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases
    assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)
    assert any("--require-hashes" in line for line in lines)
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER antin"
    assert not [line for line in lines if line.startswith("ADD ")]
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line}
    assert all((ROOT / place).exists() for place in copied)


def test_the_image_compiles_the_signer_from_the_very_sources_that_it_runs():
    """A stamp that does not fit would leave the image interpreted (docs/adr/0013)."""
    stages = (ROOT / "deploy" / "Containerfile").read_text().split("FROM ")[1:]
    compiling = next(one for one in stages if "AS compile" in one)
    copied = [
        {line.split()[1] for line in one.splitlines() if line.startswith("COPY ")} for one in (compiling, stages[-1])
    ]
    assert {"events", "domain", "services"} <= copied[0] & copied[1]
    assert "COPY --from=compile /srv/antin/services/signer/compiled services/signer/compiled" in stages[-1]
    assert stages[-1].index("COPY services services") < stages[-1].index("COPY --from=compile")
    assert len({one.split()[0] for one in stages}) == 1, "one interpreter"
