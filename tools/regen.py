"""Writes schemas/ from events/ and the routes: JSON Schemas, golden examples, AsyncAPI 3, OpenAPI 3.1.

`python -m tools.regen` writes; `--check` changes nothing and fails when something would change. Examples that were
published are never rewritten: they must stay readable (that is what makes them golden).
"""

from __future__ import annotations

import inspect
import json
import sys
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from events.codec import SCHEMA_BASE, from_structured, schema_uri, to_structured
from events.envelope import Event
from events.fact import Fact, Value
from events.flow import PARTITIONS, TOPICS
from events.registry import FACTS
from events.values import Code, Digest, EventId, IdentityId, Name, Slot

ROOT = Path(__file__).parents[1] / "schemas"
DOCS = Path(__file__).parents[1] / "docs"
_MOMENT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
_SAMPLES: dict[type, Any] = {
    Digest: Digest.of(b"example"),
    IdentityId: IdentityId("a2" * 26),
    Slot: Slot("supplier"),
    Code: Code("example-reason"),
}


def _sample(name: str, kind: Any, info: FieldInfo | None) -> Any:
    """A fixed value of a field's type."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _sample(name, next(arg for arg in args if arg is not type(None)), info)
    if origin is Literal:
        return args[0]
    if origin is tuple:
        return (_sample(name, args[0], None),)
    if hasattr(kind, "__metadata__"):
        return _sample(name, args[0], info)
    if kind in _SAMPLES:
        return _SAMPLES[kind]
    if isinstance(kind, type) and issubclass(kind, Name):
        return kind("0192f0c1-7a3e-7c4d-8b5a-0123456789ab")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if isinstance(kind, type) and issubclass(kind, Value):
        return example(kind)
    if kind is datetime:
        return _MOMENT + timedelta(days=365 if "until" in name or "after" in name or "expires" in name else 0)
    return {int: 2, float: 72.0, str: f"an example {name.replace('_', ' ')}"}[kind]


def example(kind: type[Value]) -> Any:
    """A fact (or a part of one) with every field set."""
    return kind(**{name: _sample(name, info.annotation, info) for name, info in kind.model_fields.items()})


def _schema(fact: type[Fact]) -> dict[str, Any]:
    schema = fact.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_uri(fact),
        **_open(schema),
    }


def _open(schema: Any) -> Any:
    """What is published tolerates additions: within a major version members are only ever added."""
    if isinstance(schema, dict):
        return {key: _open(member) for key, member in schema.items() if key != "additionalProperties"}
    if isinstance(schema, list):
        return [_open(member) for member in schema]
    return schema


def _asyncapi() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for fact in FACTS.values():
        messages[fact.name()] = {
            "name": fact.type_name(),
            "title": fact.name(),
            "summary": (fact.__doc__ or "").strip().split("\n")[0],
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/CloudEvent"},
            "payload": {
                "schemaFormat": "application/schema+json;version=draft-2020-12",
                "schema": {"$ref": f"./{fact.family}/{fact.name()}.v{fact.version}.schema.json"},
            },
        }
    for topic in TOPICS.values():
        own = [fact.name() for fact in FACTS.values() if fact.family == topic.family]
        channels[topic.family] = {
            "address": topic.name,
            "description": f"Keyed by {topic.key}; {PARTITIONS} partitions; kept {topic.keeps.days} days.",
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in own},
        }
        references = [{"$ref": f"#/channels/{topic.family}/messages/{name}"} for name in own]
        operations[f"{topic.says}-says-{topic.family}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{topic.family}"},
            "messages": references,
        }
        for hearer in topic.hears:
            operations[f"{hearer}-hears-{topic.family}"] = {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{topic.family}"},
                "messages": references,
            }
    text = {"type": "string"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Antin events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0; who says and who hears what.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {
                "CloudEvent": {
                    "type": "object",
                    "description": "CloudEvents 1.0 attributes; on Kafka as headers with the prefix ce_.",
                    "required": ["id", "source", "type", "specversion", "time", "partitionkey"],
                    "properties": {
                        "id": {"type": "string", "format": "uuid"},
                        "source": text,
                        "type": text,
                        "specversion": {"const": "1.0"},
                        "subject": text,
                        "time": {"type": "string", "format": "date-time"},
                        "datacontenttype": {"const": "application/json"},
                        "dataschema": {"type": "string", "format": "uri"},
                        "partitionkey": text,
                        "cause": {"type": "string", "format": "uuid"},
                        "traceparent": text,
                    },
                }
            },
        },
    }


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def wanted() -> dict[Path, str]:
    """Every generated file and its text."""
    from cli.composition import all_routes
    from services.runtime.openapi import describe

    found: dict[Path, str] = {}
    for fact in FACTS.values():
        stem = f"{fact.name()}.v{fact.version}"
        found[ROOT / fact.family / f"{stem}.schema.json"] = _text(_schema(fact))
        golden = ROOT / fact.family / f"{stem}.example.json"
        if golden.exists():
            found[golden] = golden.read_text()
        else:
            event = Event(EventId(str(example_id())), "/antin/example", _MOMENT, example(fact))
            found[golden] = _text(json.loads(to_structured(event)))
    found[ROOT / "asyncapi.json"] = _text(_asyncapi())
    found[ROOT / "openapi.json"] = _text(describe(all_routes()))
    found[ROOT / "README.md"] = _readme()
    found[DOCS / "contract-lifecycle.md"] = _lifecycle()
    found[DOCS / "settings.md"] = _settings()
    found[DOCS / "verification.md"] = _limits((DOCS / "verification.md").read_text())
    return found


def _limits(text: str) -> str:
    """The page with the table of the sandbox's limits between its marks, from `services.verifier.sandbox`."""
    from services.verifier.confinement import FILES
    from services.verifier.sandbox import DRAWING, Limits

    judging, drawing = Limits(), DRAWING
    mega = 1024 * 1024
    rows = (
        ("processor", f"{judging.cpu} s", f"{drawing.cpu} s", "RLIMIT_CPU"),
        ("clock", f"{judging.wall:g} s", f"{drawing.wall:g} s", "its own alarm, then its warm parent's SIGKILL"),
        (
            "memory beyond the warm parent's",
            f"{judging.memory // mega} MiB",
            f"{drawing.memory // mega} MiB",
            "RLIMIT_AS",
        ),
        ("octets of the file", f"{judging.size // mega} MiB", f"{drawing.size // mega} MiB", "before it is read"),
        ("octets of the answer", f"{judging.output // mega} MiB", f"{drawing.output // mega} MiB", "at both ends"),
        ("files open", str(FILES), str(FILES), "RLIMIT_NOFILE"),
        ("octets written to files", "0", "0", "RLIMIT_FSIZE"),
    )
    table = ["| what | to judge | to draw its pages | by |", "|---|---|---|---|"]
    table += [f"| {' | '.join(row)} |" for row in rows]
    head, _, rest = text.partition("<!-- limits -->\n")
    return f"{head}<!-- limits -->\n" + "\n".join(table) + f"\n<!-- /limits -->{rest.partition('<!-- /limits -->')[2]}"


def _lifecycle() -> str:
    from services.contracts.lifecycle import lifecycle_markdown

    return f"""# The life of a contract

Drawn by `make regen` from the one table in `services/contracts/lifecycle.py`. A move that is not in it is refused and
changes nothing.

{lifecycle_markdown().strip()}
"""


def _settings() -> str:
    from cli.installation import BlobsPlace, DatabasePlace, KafkaPlace, Outside
    from services.ca_bridge.settings import CaBridgeSettings
    from services.contracts.settings import ContractsSettings
    from services.notifier.settings import NotifierSettings
    from services.runtime.pressure import Limits
    from services.signer.settings import SignerSettings
    from services.verifier.settings import VerifierSettings

    parts = [_SETTINGS_HEAD]
    for name, kind in (
        ("outside", Outside),
        ("database", DatabasePlace),
        ("blobs", BlobsPlace),
        ("kafka", KafkaPlace),
        ("intake", Limits),
        ("ca_bridge", CaBridgeSettings),
        ("contracts", ContractsSettings),
        ("signer", SignerSettings),
        ("verifier", VerifierSettings),
        ("notifier", NotifierSettings),
    ):
        rows = [
            f"## {name}",
            "",
            inspect.cleandoc(kind.__doc__ or ""),
            "",
            "| name | default | bounds | |",
            "|---|---|---|---|",
        ]
        for field, info in kind.model_fields.items():
            default = "required" if info.is_required() else f"`{_shown(info.default)}`"
            bounds = ", ".join(filter(None, map(_bound, info.metadata)))
            rows.append(
                f"| `ANTIN_{name.upper()}__{field.upper()}` | {default} | {bounds} | {info.description or ''} |"
            )
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _bound(part: Any) -> str:
    signs = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    signs |= {"min_length": "length at least", "max_length": "length at most"}
    return next((f"{words} {getattr(part, sign)}" for sign, words in signs.items() if hasattr(part, sign)), "")


def _shown(value: Any) -> str:
    return value.value if isinstance(value, Enum) else str(value)


_SETTINGS_HEAD = """# Settings

Made by `make regen` from the settings of each service. A setting is an environment variable `ANTIN_<SERVICE>__<NAME>`;
lists are JSON. Names that nobody knows and values that do not fit are all reported at once; `antin serve --check`
and `antin run NAME --check` check and stop. Secrets are files with mode 0600, named by settings that end in `_FILE`.

`antin serve` makes its own secrets in `<data>/secrets/` and runs the toy outside world; with `--no-lab` the outside is
named by `ANTIN_OUTSIDE__*`. What is marked required is filled in by `antin serve` unless you set it."""


def example_id() -> str:
    """The id of every example."""
    return "0192f0c1-7a3e-7c4d-8b5a-00000000cafe"


def _readme() -> str:
    rows = "\n".join(
        f"| `{topic.name}` | {topic.key} | {topic.says} | {', '.join(topic.hears) or '-'} |"
        for topic in TOPICS.values()
    )
    facts = "\n".join(
        f"| `{fact.type_name()}` | {(fact.__doc__ or '').strip().splitlines()[0]} |" for fact in FACTS.values()
    )
    return f"""# Schemas of the published language

Generated by `make regen` from `events/` and the routes; `make check` fails when they differ. A schema's `$id` is a URN
below `{SCHEMA_BASE}`. Within a major version members are only added; a new major version is a new type.

| topic | key | says | hears |
|---|---|---|---|
{rows}

| type | what happened |
|---|---|
{facts}
"""


def main(check: bool) -> int:
    """Write, or say what would be written."""
    files = wanted()
    stale = {path for path in ROOT.rglob("*") if path.is_file()} - files.keys()
    changed = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    unreadable = [path for path, text in files.items() if path.name.endswith(".example.json") and not _reads(text)]
    for path in unreadable:
        print(f"{path.relative_to(ROOT.parent)}: a published example that today's codec cannot read", file=sys.stderr)
    if check:
        for path in sorted([*changed, *stale]):
            print(f"{path.relative_to(ROOT.parent)}: not as generated; run: make regen", file=sys.stderr)
        return 1 if changed or stale or unreadable else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    for path in stale:
        path.unlink()
    print(f"{len(files)} files, {len(changed)} written, {len(stale)} removed")
    return 1 if unreadable else 0


def _reads(text: str) -> bool:
    event = from_structured(text.encode())
    return event.type in FACTS


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
