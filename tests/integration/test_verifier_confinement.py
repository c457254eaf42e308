"""What a judging process tries and may not do: each limit and each layer, with a task that goes against it.

A layer that this kernel does not offer is skipped, saying so; the limits are held everywhere.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from processes import children, gone, runs
from waiting import until

from services.verifier import confinement, sandbox
from services.verifier.sandbox import Lifetime, Limits, Sandbox

HOSTILE = "tests.support.hostile"
QUICK = Limits(cpu=1, wall=2.0, memory=128 * 1024 * 1024, output=4_000_000)


@pytest.fixture
async def cell():
    async with Sandbox(QUICK, tasks=HOSTILE) as made, asyncio.timeout(60):
        yield made


def needs(made: Sandbox, layer: str) -> None:
    """Skip where the kernel lacks the layer."""
    if layer not in made.layers:
        pytest.skip(f"this kernel does not offer {layer}; in force: {', '.join(made.layers)}")


@pytest.mark.parametrize(
    "task",
    ["socket", "socket-unix", "fork", "exec", "spawn", "kill", "raise-limits", "memfd", "remove"],
)
async def test_a_call_that_computing_does_not_need_is_refused(cell, task, tmp_path):
    """seccomp(2): every call outside the list is answered with EPERM."""
    victim = tmp_path / "kept"
    victim.write_text("kept")
    ended = await cell.run(task, b"", {"path": str(victim)})
    needs(cell, "seccomp")
    assert ended.parts == (b"PermissionError",)
    assert victim.read_text() == "kept"
    assert ended.reason is None


async def test_no_thread_either(cell):
    ended = await cell.run("thread", b"", {})
    needs(cell, "seccomp")
    assert ended.parts == (b"RuntimeError",)


async def test_nothing_is_written(cell, tmp_path):
    ended = await cell.run("write", b"", {"path": str(tmp_path / "new")})
    needs(cell, "seccomp")
    assert ended.parts == (b"PermissionError",)
    assert not (tmp_path / "new").exists()


async def test_no_file_outside_the_interpreter_is_read(cell, tmp_path):
    """landlock(7): neither keys nor settings nor other people's uploads."""
    (tmp_path / "key.pem").write_text("secret")
    ended = await cell.run("read", b"", {"path": str(tmp_path / "key.pem")})
    needs(cell, "landlock")
    assert ended.parts == (b"PermissionError",)
    packaged = await cell.run("read", b"", {"path": sys.modules["structlog"].__file__})
    assert packaged.parts == (b"done",), "the interpreter's own packages can be imported late"


async def test_nothing_can_be_called_over_the_network_even_without_the_filter(monkeypatch, tmp_path):
    """A network namespace holds no interface that is up, so even loopback cannot be reached."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        async with Sandbox(QUICK, tasks="tests.support.hostile_unfiltered") as made, asyncio.timeout(60):
            ended = await made.run("connect", b"", {"port": listening.getsockname()[1]})
            if "network-namespace" not in made.layers and "landlock" not in made.layers:
                pytest.skip("this kernel offers neither network namespaces nor Landlock")
            assert "seccomp" not in made.layers
    assert ended.parts in ((b"PermissionError",), (b"OSError",))


async def test_only_so_many_files_are_open(cell):
    ended = await cell.run("files", b"", {})
    assert ended.parts == (b"OSError",)


@pytest.mark.parametrize(
    ("task", "reason", "parts"),
    [
        ("sleep", "took-too-long", ()),
        ("deaf", "took-too-long", ()),
        ("spin", "took-too-much-processor", (b"began",)),
        ("eat", "took-too-much-memory", (b"began",)),
        ("recurse", "too-deep", ()),
        ("crash", "took-too-much-memory", (b"first",)),
        ("crash-at-once", "judge-died", ()),
    ],
)
async def test_a_task_beyond_its_limits_ends_with_the_reason_and_what_it_said_before_stays(cell, task, reason, parts):
    # A busy machine must not end by the clock what is to end by its use of the processor.
    limits = replace(QUICK, wall=40.0) if reason != "took-too-long" else QUICK
    ended = await cell.run(task, b"", {}, limits)
    assert (ended.reason, ended.parts) == (reason, parts)
    assert ended.peak < 300 * 1024 * 1024
    assert ended.milliseconds < 2500


async def test_an_answer_without_end_is_cut(cell):
    ended = await cell.run("talk", b"", {})
    assert ended.reason == "report-too-long"
    assert sum(map(len, ended.parts)) <= QUICK.output


async def test_a_task_sees_the_file_and_an_empty_environment(cell):
    ended = await cell.run("peek", b"%PDF", {})
    assert ended.parts == (b"{}", b"%PDF")


async def test_a_task_that_does_not_exist_is_an_answer_too(cell):
    assert (await cell.run("dance", b"", {})).reason == "judge-died"


async def test_when_the_warm_parent_is_killed_its_children_go_with_it():
    """prctl(2) PR_SET_PDEATHSIG: nobody is left who would go on reading a stranger's file unwatched."""
    async with Sandbox(Limits(cpu=20, wall=20), tasks=HOSTILE) as made, asyncio.timeout(60):
        asked = asyncio.create_task(made.run("whoami", b"", {}))

        async def forked() -> bool:
            return bool(children(made.pid))

        await until(forked, what="a child")
        orphans = children(made.pid)
        os.kill(made.pid, signal.SIGKILL)
        ended = await asked
        assert ended.reason == "judge-vanished"
        await until(lambda: gone(*orphans), what="the end of the children")


async def test_a_worn_parent_is_replaced_and_what_it_has_in_hand_ends_well():
    limits = Limits(cpu=5, wall=1.5)
    async with Sandbox(limits, 4, lifetime=Lifetime(tasks=2), tasks=HOSTILE) as made, asyncio.timeout(60):
        slow = asyncio.create_task(made.run("sleep", b"", {}))
        assert (await made.run("peek", b"1", {})).parts == (b"{}", b"1")
        first = made.pid
        assert (await made.run("peek", b"2", {})).parts == (b"{}", b"2")
        assert made.pid != first
        assert runs(first), "the old one still has the slow task in hand"
        assert (await slow).reason == "took-too-long"
        await until(lambda: gone(first), what="the end of the worn parent")


@pytest.mark.parametrize("lifetime", [Lifetime(seconds=0.0), Lifetime(growth=-(1 << 40))])
async def test_age_and_growth_wear_a_parent_too(lifetime):
    async with Sandbox(QUICK, lifetime=lifetime, tasks=HOSTILE) as made, asyncio.timeout(60):
        await made.run("peek", b"", {})
        first = made.pid
        await made.run("peek", b"", {})
        assert made.pid != first
        assert not runs(first)


async def test_a_layer_that_the_kernel_lacks_is_named_in_the_log():
    with capture_logs() as logs:
        async with Sandbox(QUICK, tasks="tests.support.hostile_unfiltered") as made:
            await made.run("peek", b"", {})
    told = [entry["missing"] for entry in logs if entry["event"] == "sandbox-weaker"]
    assert told
    assert "seccomp" in told[0]


def test_the_layers_are_those_that_the_sandbox_can_miss():
    assert sandbox.LAYERS == confinement.LAYERS
