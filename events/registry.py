"""From the name and version on the wire to the class: never a Python path."""

from __future__ import annotations

from types import ModuleType

from events import binding, contract, identity, notification, signing, verification
from events.errors import Malformed
from events.fact import Fact

FAMILIES: tuple[ModuleType, ...] = (identity, binding, contract, signing, verification, notification)


def _leaves() -> dict[str, type[Fact]]:
    found: dict[str, type[Fact]] = {}
    for module in FAMILIES:
        for member in vars(module).values():
            if (
                isinstance(member, type)
                and issubclass(member, Fact)
                and member.__module__ == module.__name__
                and not member.__name__.endswith("Fact")
            ):
                found[member.type_name()] = member
    return found


FACTS: dict[str, type[Fact]] = _leaves()
"""Every fact of the language by its CloudEvents `type`."""


def fact_class(type_name: str) -> type[Fact]:
    """The class behind a CloudEvents `type`.

    Raises:
        Malformed: the type is not one this version of the language knows.
    """
    try:
        return FACTS[type_name]
    except KeyError:
        raise Malformed(
            "unknown-fact",
            found=f"the type {type_name[:100]!r}",
            expected="one of the types in schemas/",
            remedy="deploy consumers that know a new type before its speakers",
        ) from None
