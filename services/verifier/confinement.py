"""What a judging process may not do, enforced by the Linux kernel: layers that are put on one after the other.

Limits (setrlimit) hold everywhere. The others are used where the kernel offers them: an empty network namespace,
Landlock (landlock(7): reading below the interpreter's folders only, no TCP), and a filter (seccomp(2)) that lets the
calls through that computing needs and answers every other one with EPERM. `LAYERS` names them; whoever starts a sandbox
is told which are in force.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path

LAYERS = ("limits", "network-namespace", "landlock", "seccomp")

_libc = ctypes.CDLL(None, use_errno=True)

# include/uapi/linux/prctl.h, sched.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


class Unconfined(OSError):
    """A layer that should hold could not be put on."""


# ---- limits


def limit(*, cpu: int, wall: float, memory: int, held: int) -> None:
    """Hard limits: `cpu` and `wall` in seconds, `memory` in octets of address space beyond the `held` ones.

    The soft limit of the processor ends the process with SIGXCPU, which tells it from a kill for want of memory.
    """
    signal.setitimer(signal.ITIMER_REAL, wall)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC, resource.RLIMIT_MEMLOCK):
        resource.setrlimit(kind, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


FILES = 64
"""Descriptors that a judging process may have open."""


def address_space() -> int:
    """Octets of address space this process has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def die_with(parent: int) -> None:
    """This process is killed when `parent` ends, however that ends.

    Raises:
        Unconfined: the parent is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise Unconfined(errno.ESRCH, "the parent is gone")


def be_first_to_go() -> None:
    """When the machine runs out of memory, the kernel takes the judges before anything else."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")


# ---- network namespace


def leave_the_network() -> bool:
    """Whether this process now lives in a network namespace of its own, which holds nothing, not even loopback up."""
    return any(_libc.unshare(kind) == 0 for kind in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


# ---- Landlock (include/uapi/linux/landlock.h)

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_BASE_RIGHTS, _REFER, _TRUNCATE, _IOCTL = (1 << 13) - 1, 1 << 13, 1 << 14, 1 << 15
_TCP, _SCOPES = 0b11, 0b11


def readable_places() -> tuple[Path, ...]:
    """What a judge may read: the interpreter, its packages, our own, libraries, fonts and time zones. No data."""
    ours = Path(__file__).resolve().parents[2]
    names = ("services", "domain", "events")
    system = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/fonts", "/usr/share/zoneinfo")
    files = ("/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf", "/dev/null", "/dev/urandom")
    prefixes = (sys.prefix, sys.base_prefix)
    return tuple(
        path for path in (*(ours / name for name in names), *map(Path, (*prefixes, *system, *files))) if path.exists()
    )


def landlock_version() -> int:
    """The version of Landlock that the kernel offers; below 1 when none."""
    return int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def forbid_files() -> bool:
    """Whether this process and its children now read below `readable_places()` only, and write nowhere."""
    version = landlock_version()
    if version < 1:
        return False
    rights = _BASE_RIGHTS | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rights |= _IOCTL if version >= 5 else 0
    attributes = struct.pack("=QQQ", rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for place in readable_places():
            descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
            try:
                beneath = struct.pack("=Qi", _READ_FILE | (_READ_DIR if place.is_dir() else 0), descriptor)
                if _libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, beneath, 0) != 0:
                    return False
            finally:
                os.close(descriptor)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        return bool(_libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


# ---- seccomp: a filter in classic BPF (include/uapi/linux/seccomp.h, bpf_common.h)

_LOAD, _IS, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | (os.O_TMPFILE & ~os.O_DIRECTORY)

# Calls that computing, reading what is open already, and importing a module need: name, number on x86-64, and number in
# the common table (aarch64; none where that table has no such call).
_CALLS: dict[str, tuple[int, int | None]] = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "close": (3, 57),
    "lseek": (8, 62), "fstat": (5, 80), "stat": (4, None), "lstat": (6, None), "newfstatat": (262, 79),
    "statx": (332, 291), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "dup": (32, 23),
    "fcntl": (72, 25), "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216),
    "madvise": (28, 233), "brk": (12, 214), "futex": (202, 98), "membarrier": (324, 283), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sysinfo": (99, 179), "uname": (63, 160), "getpid": (39, 172),
    "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getrusage": (98, 165), "getrlimit": (97, 163), "times": (100, 153),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "getrandom": (318, 278), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "restart_syscall": (219, 128),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22), "socketpair": (53, 199),
    "recvfrom": (45, 207), "recvmsg": (47, 212), "sendto": (44, 206), "sendmsg": (46, 211), "shutdown": (48, 210),
    "getsockopt": (55, 209), "setsockopt": (54, 208), "getsockname": (51, 204), "exit": (60, 93),
    "exit_group": (231, 94),
}  # fmt: skip
_OPEN, _OPENAT, _IOCTL_CALL, _SIGNAL_THREAD = (2, None), (257, 56), (16, 29), (234, 131)
_FIONBIO = 0x5421  # how a socket is made non-blocking
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}


def filters() -> bool:
    """Whether the filter can be used on this machine."""
    # PR_GET_SECCOMP answers 0 where the kernel knows filters and none is on; it fails with EINVAL where it does not.
    return platform.machine() in _MACHINES and sys.maxsize > 1 << 32 and _libc.prctl(21, 0, 0, 0, 0) >= 0


def filter_calls() -> None:
    """From now on only the calls of the list: no new socket but a pair with itself, no child, no exec, no writing.

    Raises:
        Unconfined: the kernel does not take the filter.
    """
    architecture, column = _MACHINES[platform.machine()]
    code = _program(architecture, column, os.getpid())

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    held = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.cast(held, ctypes.c_void_p))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise Unconfined(ctypes.get_errno(), "the kernel refuses the filter")


def _program(architecture: int, column: int, own: int) -> bytes:
    """The filter: `own` is the one process that may be signalled (abort() signals itself)."""

    def one(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("=HBBI", code, then, otherwise, value)

    def argument(index: int) -> bytes:
        return one(_LOAD, 16 + 8 * index)  # the low half of a 64-bit argument, on a little-endian machine

    def when(call: tuple[int, int | None], *inside: bytes) -> bytes:
        number = call[column]
        return b"" if number is None else one(_IS, number, 0, len(inside)) + b"".join(inside)

    allow, refuse = one(_RETURN, _ALLOW), one(_RETURN, _REFUSE | errno.EPERM)
    parts = [one(_LOAD, 4), one(_IS, architecture, 1, 0), one(_RETURN, _KILL), one(_LOAD, 0)]
    if column == 0:
        parts += [one(_AT_LEAST, _X32, 0, 1), one(_RETURN, _KILL)]
    parts += [when(call, allow) for call in _CALLS.values()]
    for call, flags in ((_OPEN, 1), (_OPENAT, 2)):
        parts.append(when(call, argument(flags), one(_ANY_BIT, _WRITING, 1, 0), allow, refuse))
    for call, index, value in ((_SIGNAL_THREAD, 0, own), (_IOCTL_CALL, 1, _FIONBIO)):
        parts.append(when(call, argument(index), one(_IS, value, 0, 1), allow, refuse))
    return b"".join([*parts, refuse])


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise Unconfined(ctypes.get_errno(), f"prctl {option} is refused")
