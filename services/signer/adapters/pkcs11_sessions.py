"""Sessions with a PKCS#11 token: one login, a pool of sessions in threads of their own, all off the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
import structlog
from pkcs11 import TokenFlag
from pkcs11.exceptions import (
    DeviceMemory,
    KeySizeRange,
    MechanismInvalid,
    MechanismParamInvalid,
    MultipleTokensReturned,
    NoSuchToken,
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    SessionCount,
    UserAlreadyLoggedIn,
    UserNotLoggedIn,
    UserPinNotInitialized,
)

from events.errors import AntinError, Malformed, Refused, Unavailable
from services.runtime.settings import secret

log = structlog.get_logger()

T = TypeVar("T")

QUEUE = 256
"""Calls that may wait for a session; more are told to come back."""

PATIENCE = 10.0
"""Seconds that a restart of the module waits for calls in flight."""

_PIN_FAULTS = (PinIncorrect, PinInvalid, PinLenRange, PinLocked, PinExpired, UserPinNotInitialized)

# --- the module -----------------------------------------------------------------------------------------------------

_OS_LOCKING_OK = 2
_CANT_LOCK = 0x0A
_RW_USER_FUNCTIONS = 3
_CALL = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)


class _Arguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 v2.40 clause 3.7)."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _Functions(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST (PKCS#11 v2.40 clause 3.6)."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("initialize", _CALL),
        ("finalize", _CALL),
        ("from_get_info_to_close_all_sessions", ctypes.c_void_p * 13),
        ("get_session_info", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)),
    )


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO (PKCS#11 v2.40 clause 3.3)."""

    _fields_ = tuple((name, ctypes.c_ulong) for name in ("slot", "state", "flags", "device_error"))


class Module:
    """A vendor's shared library, initialised once in a process, for several threads (CKF_OS_LOCKING_OK).

    python-pkcs11 initialises it for one thread and cannot be told otherwise: it is finalised and initialised anew
    before any session is opened. A module that cannot lock (CKR_CANT_LOCK) is used by one thread at a time.

    Raises:
        PKCS11Error, OSError: it cannot be loaded.
    """

    def __init__(self, path: str) -> None:
        self.library: Any = pkcs11.lib(path)
        listed = ctypes.POINTER(_Functions)()
        ctypes.CDLL(path).C_GetFunctionList(ctypes.byref(listed))
        self._functions = listed.contents
        self._gate = threading.Condition()
        self._inside = 0
        self._alone = False
        self.generation = 0
        self.locks = True
        self._initialize()

    @contextmanager
    def use(self) -> Iterator[int]:
        """Be in the module beside others; the generation of its sessions."""
        with self._gate:
            self._gate.wait_for(lambda: not self._alone and (self.locks or not self._inside))
            self._inside += 1
        try:
            yield self.generation
        finally:
            with self._gate:
                self._inside -= 1
                self._gate.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the module to oneself, outside `use`: C_Logout and C_Finalize concern everybody's sessions.

        Raises:
            Unavailable: a call in flight does not end.
        """
        with self._gate:
            if not self._gate.wait_for(lambda: not self._alone, PATIENCE):
                raise _wait("pkcs11-token-away", "a module that does not answer", "a token that works", None)
            self._alone = True
            if not self._gate.wait_for(lambda: not self._inside, PATIENCE):
                self._alone = False
                self._gate.notify_all()
                raise _wait("pkcs11-token-away", "a call to the module that does not end", "a token that works", None)
        try:
            yield
        finally:
            with self._gate:
                self._alone = False
                self._gate.notify_all()

    def restart(self, generation: int) -> None:
        """Initialise anew, unless that was done since `generation`; every session ends.

        Raises:
            Unavailable: a call in flight does not end, or the module cannot be initialised any more.
        """
        with self.alone():
            if self.generation == generation:
                self.generation += 1
                try:
                    self._initialize()
                except PKCS11Error as fault:
                    raise _away(fault) from fault

    def logged_in(self, session: Any) -> bool:
        """Whether the user is logged in, as the module sees it."""
        info = _SessionInfo()
        result = self._functions.get_session_info(session.handle, ctypes.addressof(info))
        return bool(result == 0 and info.state == _RW_USER_FUNCTIONS)

    def _initialize(self) -> None:
        """C_Finalize and C_Initialize (PKCS#11 v2.40 clause 5.4)."""
        self._functions.finalize(None)
        wanted = _Arguments(flags=_OS_LOCKING_OK)
        result = self._functions.initialize(ctypes.addressof(wanted))
        self.locks = result != _CANT_LOCK
        if not self.locks:
            log.warning("pkcs11-module-cannot-lock")
            result = self._functions.initialize(None)
        if result:
            raise PKCS11Error(f"C_Initialize answers {result:#x}")


_modules: dict[str, Module] = {}
_loading = threading.Lock()


def loaded(path: Path) -> Module:
    """The module at this path, once in a process.

    Raises:
        Malformed: it cannot be loaded.
    """
    with _loading:
        try:
            return _modules.get(str(path)) or _modules.setdefault(str(path), Module(str(path)))
        except (PKCS11Error, OSError) as fault:
            raise Malformed(
                "pkcs11-module",
                found=f"a PKCS#11 module that cannot be loaded ({path.name}, {type(fault).__name__})",
                expected="the shared library of the token's vendor, for this processor, configured as it wants",
                remedy="correct ANTIN_SIGNER__PKCS11_MODULE; for SoftHSM also SOFTHSM2_CONF",
            ) from fault


# --- its sessions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Login:
    """The user's login, which every session of a process shares (PKCS#11 v2.40 clause 5.6), and the session that made
    it. Nothing else is done in that one: closing it logs everybody out.
    """

    token: Any
    session: Any
    generation: int


@dataclass(frozen=True, eq=False)
class Opened:
    """A thread's session. `kept`: what its user has found in it; objects are of the session they were found in."""

    session: Any
    login: _Login
    module: Module
    kept: dict[Any, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Without a login private keys are not even found: make sure of it before one is said not to be there.

        Raises:
            UserNotLoggedIn: the login was lost.
        """
        if not self.module.logged_in(self.session):
            raise UserNotLoggedIn


class Sessions:
    """`count` sessions with the token `label` of a module, each in its own thread. `pin_file`: the user PIN, mode 0600,
    read at each login.

    A session that dies is replaced and its work done once more. A PIN that the token has refused is not tried again
    until the file holds another, and the last try before it locks is left to a person: tokens lock after a few.
    """

    def __init__(self, module: Module, label: str, pin_file: Path, count: int) -> None:
        self._module = module
        self._label = label
        self._pin_file = pin_file
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="pkcs11")
        self._most = count + QUEUE
        self._taken = 0
        self._mine = threading.local()
        self._opening = threading.Lock()
        self._login: _Login | None = None
        self._open: list[Opened] = []
        self._refused_pin: tuple[bytes, Unavailable] | None = None

    async def do(self, work: Callable[[Opened], T]) -> T:
        """Do the work in one of the sessions.

        Raises:
            Refused: the token cannot make or use this kind of key.
            Unavailable: too much waits already, or the token is away, full or locked.
        """
        if self._taken >= self._most:
            raise Unavailable(
                "pkcs11-busy",
                found=f"{self._taken} calls that the token has not done yet",
                expected=f"at most {self._most}",
                remedy="it is tried again; more ANTIN_SIGNER__PKCS11_SESSIONS do more at once, if the token does",
                retry_after=1.0,
            )
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._guarded, work)
        finally:
            self._taken -= 1

    async def close(self) -> None:
        """Finish what has begun, close the sessions and log out."""
        await asyncio.to_thread(partial(self._threads.shutdown, wait=True, cancel_futures=True))
        await asyncio.to_thread(self._renew, self._login)

    # --- on the threads

    def _guarded(self, work: Callable[[Opened], T]) -> T:
        """Do the work; once more after the module was restarted, and once more in a session of a new login."""
        restarted = renewed = False
        while True:
            login = self._login
            with self._module.use() as generation:
                try:
                    opened = self._opened(generation)
                    login = opened.login
                    return work(opened)
                except PKCS11Error as fault:
                    lost = fault
            if (told := _told(lost)) is not None:
                raise told from lost
            if isinstance(lost, NoSuchToken):
                # Many modules list their slots once, when they are initialised: a token that came back is seen then.
                if restarted:
                    raise _absent(lost) from lost
                self._module.restart(generation)
                restarted = True
                continue
            # Whatever it was, the login is not trusted any more: handles die with the token, or with another's logout.
            self._renew(login)
            if renewed:
                raise _away(lost) from lost
            renewed = True
            log.warning("pkcs11-session-lost", fault=type(lost).__name__)

    def _opened(self, generation: int) -> Opened:
        """This thread's session, in which the user is logged in.

        Raises:
            NoSuchToken: it is not in its slot.
            PKCS11Error: it cannot be used.
            Unavailable: its PIN is wrong, locked, expired or cannot be read; or it gives no more sessions.
        """
        opened: Opened | None = getattr(self._mine, "opened", None)
        if opened is not None and opened.login is self._login and opened.login.generation == generation:
            return opened
        with self._opening:
            login = self._login
            if login is None or login.generation != generation:
                self._open.clear()
                login = self._login = self._log_in(generation)
            try:
                opened = Opened(login.token.open(rw=True), login, self._module)
            except SessionCount as fault:
                raise _wait(
                    "pkcs11-sessions",
                    f"a token that gives no more than {len(self._open) + 1} sessions",
                    "one for each of ANTIN_SIGNER__PKCS11_SESSIONS and one more",
                    fault,
                ) from fault
            self._open.append(opened)
        self._mine.opened = opened
        return opened

    def _renew(self, login: _Login | None) -> None:
        """End this login and all its sessions, unless that was done."""
        with self._module.alone(), self._opening:
            if login is None or self._login is not login:
                return
            sessions = [*(one.session for one in self._open), login.session]
            self._login = None
            self._open.clear()
            if login.generation != self._module.generation:
                return  # they ended with their module; their handles may be others' by now
            for session in sessions:
                try:
                    session.close()
                except PKCS11Error:
                    log.info("pkcs11-session-was-dead")

    def _log_in(self, generation: int) -> _Login:
        try:
            pin = secret(self._pin_file)
        except AntinError as fault:
            raise _wait("pkcs11-pin-unreadable", fault.found, fault.expected, None) from fault
        mark = hashlib.sha256(pin.encode()).digest()
        if self._refused_pin is not None:
            if self._refused_pin[0] == mark:
                raise self._refused_pin[1]
            self._refused_pin = None
        token = self._token()
        if token.flags & (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED):
            raise _last_try(bool(token.flags & TokenFlag.USER_PIN_LOCKED))
        try:
            try:
                session = token.open(rw=True, user_pin=pin)
            except UserAlreadyLoggedIn:  # by another store of this process
                session = token.open(rw=True)
        except _PIN_FAULTS as fault:
            refusal = _pin_refused(fault)
            self._refused_pin = (mark, refusal)
            log.error("pkcs11-login-refused", code=refusal.code)
            raise refusal from fault
        return _Login(token, session, generation)

    def _token(self) -> Any:
        try:
            return self._module.library.get_token(token_label=self._label)
        except MultipleTokensReturned as fault:
            raise _wait("pkcs11-token-ambiguous", "several tokens with the configured label", "one", fault) from fault


def _told(fault: PKCS11Error) -> Refused | Unavailable | None:
    """Faults that say nothing against the session."""
    match fault:
        case DeviceMemory():
            return _wait("pkcs11-token-full", "a token without room", "room for one more key pair", fault)
        case MechanismInvalid() | MechanismParamInvalid() | KeySizeRange():
            return Refused(
                "pkcs11-mechanism",
                found=f"a token that cannot make or use this kind of key ({type(fault).__name__})",
                expected="RSA-3072 with CKM_RSA_PKCS and CKM_RSA_PKCS_PSS, P-256 and P-384 with CKM_ECDSA",
                remedy="choose an algorithm the token has, or another token",
            )
    return None


def _absent(fault: PKCS11Error) -> Unavailable:
    return _wait(
        "pkcs11-token-absent",
        "no token with the configured label",
        "the token in its slot, initialised under ANTIN_SIGNER__PKCS11_TOKEN",
        fault,
    )


def _pin_refused(fault: PKCS11Error) -> Unavailable:
    if isinstance(fault, PinLocked):
        found, remedy = "a user PIN that the token has locked", "have the token's security officer unlock it"
    elif isinstance(fault, PinExpired | UserPinNotInitialized):
        found, remedy = "a user PIN that has expired or was never set", "set it with the vendor's tool"
    else:
        found, remedy = "a user PIN that the token refuses", "put the right PIN into the file"
    return Unavailable(
        "pkcs11-pin-locked" if isinstance(fault, PinLocked) else "pkcs11-pin",
        found=found,
        expected="the token's user PIN in ANTIN_SIGNER__PKCS11_PIN_FILE",
        remedy=f"{remedy}; this PIN is not tried again before the file changes, or the signer is started anew",
        retry_after=60.0,
    )


def _last_try(locked: bool) -> Unavailable:
    """Whether the PIN is right or wrong: a token's last try before it locks is a person's to spend."""
    return Unavailable(
        "pkcs11-pin-locked" if locked else "pkcs11-pin-final-try",
        found="a token whose user PIN is locked" if locked else "a token that locks at the next wrong PIN",
        expected="a token with tries left",
        remedy="have its security officer unlock it"
        if locked
        else "log in once with the vendor's tool and the right PIN",
        retry_after=60.0,
    )


def _away(fault: PKCS11Error) -> Unavailable:
    return _wait(
        "pkcs11-token-away", "a token that was taken out, or that failed", "a token that works, in its slot", fault
    )


def _wait(code: str, found: str, expected: str, fault: PKCS11Error | None) -> Unavailable:
    why = f" ({type(fault).__name__})" if fault is not None else ""
    return Unavailable(code, found=found + why, expected=expected, remedy="nothing was signed; it is tried again")
