"""A Ray of our own: on loopback only, with a token that nobody else can read, in a short folder that goes with it.

Its processes leave SIGTERM and SIGHUP to this process: whoever ends a whole group, session or control group (scancel,
timeout, systemd, a terminal that is closed) would else take Ray away from under the answers that are still in flight.
"""

import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from xpoll.core.errors import EngineError, UnavailableError
from xpoll.core.machine.processes import guard_descendants, signals_blocked
from xpoll.engine.failures import failure_in

SURROUNDINGS = {
    # As on macOS, the node's address is 127.0.0.1, and servers of such a node listen there. For Ray's processes.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # The object store's file has its pages from the start: where /dev/shm fills up later, Ray would else die of SIGBUS.
    "RAY_preallocate_plasma_memory": "1",
}
LARGEST_INLINE_BYTES = 2**20
"""Largest message that goes straight to its worker: through the object store, a batch costs as much again."""
OBJECT_STORE_BYTES = 128 * 2**20
SHARED_MEMORY = Path("/dev/shm")
LONGEST_SOCKET_PATH = 107  # bytes
SOCKET = "/ray/session_2026-11-29_01-24-55_779879_4194304/sockets/plasma_store"
NEEDED_BYTES = OBJECT_STORE_BYTES + 64 * 2**20  # the store, where it is kept there, sockets and logs
TOKEN = secrets.token_hex(32)
"""One for all sessions of this process, because Ray keeps the first that it reads."""
PARTS = ("raylet", "gcs_server")
"""The processes without which nothing works; both are children of this one."""

_parts: dict[int, str] = {}  # name by process id; Ray, too, is there once per process


@contextmanager
def local_ray(start: Callable[..., Any]) -> Iterator[None]:
    """A Ray of our own for the duration of the block.

    Args:
        start: Starts Ray; called with the arguments of `ray.init` that say where.

    Raises:
        EngineError: Ray does not start; one line says why.
    """
    _check_alone()
    _check_loopback()
    folder = temporary_folder()
    given = {**SURROUNDINGS, **_token(folder)}
    ours = {name: value for name, value in given.items() if name not in os.environ}
    os.environ.update(ours)
    if "RAY_AUTH_MODE" not in os.environ:
        ours["RAY_AUTH_MODE"] = "token"  # which Ray itself sets, and would keep
    guardian = guard_descendants(remove=folder)
    before, started = set(psutil.Process().children()), list[psutil.Process]()
    try:
        try:
            with signals_blocked(), _on_loopback():
                start(
                    address="local",
                    _temp_dir=str(folder / "ray"),
                    _system_config={"max_direct_call_object_size": LARGEST_INLINE_BYTES},
                    **_object_store(folder),
                )
        except Exception as error:  # whatever it is, Ray's surroundings are at fault
            lines = str(error).strip().splitlines() or [type(error).__name__]
            known = failure_in(str(error))
            mend = known.mend if known else "xpoll doctor"
            raise EngineError(f"Ray does not start: {lines[-1]}", mend=mend) from error
        finally:
            started += [child for child in psutil.Process().children() if child not in before]
        _parts.update({child.pid: child.name() for child in started if child.name() in PARTS})
        yield
    finally:
        _end(started)
        for name in ours:
            os.environ.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)
        guardian.kill()
        guardian.wait()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """What SURROUNDINGS says to Ray's processes, for this one: here Ray reads it once, when it is imported."""
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def serve_on_loopback() -> None:
    """Binds the server by which Ray Serve's replicas hear from each other to 127.0.0.1; to be called in the replica.

    Ray binds it to all addresses, after the replica's own class is made, and unpickles what comes.
    """
    from ray.serve._private import replica

    bound = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: bound(server, address.replace("[::]", "127.0.0.1"))


def check_ray() -> None:
    """Checks that the processes of a Ray of our own are alive; does nothing where there is none.

    Raises:
        UnavailableError: one has ended.
    """
    for pid, name in _parts.items():
        how = _end_of(pid)
        if how is not None:
            raise UnavailableError(
                f"Ray's {name} has ended ({how}), and without it no engine can be reached",
                mend="the same command resumes from the answers kept",
            )


def ray_is_alive() -> bool:
    """Whether all processes that a Ray of our own needs are alive; true where there is none."""
    return all(_end_of(pid) is None for pid in _parts)


def _end_of(pid: int) -> str | None:
    """How a child of this process ended, e.g. "SIGKILL"; None while it lives. It is left for Ray to collect."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return "it is gone"
    if ended is None:
        return None
    if ended.si_code == os.CLD_EXITED:
        return f"exit code {ended.si_status}"
    return signal.Signals(ended.si_status).name


def _end(started: list[psutil.Process]) -> None:
    """Ends Ray; what would let it wait in vain, for SIGTERM to be taken or for a part that is dead, is killed first."""
    import ray

    dead = not ray_is_alive()
    _parts.clear()
    for process in started:
        if dead or process.name() not in PARTS:
            with suppress(psutil.Error):
                process.kill()
    ray.shutdown()


def temporary_folder() -> Path:
    """A new private folder, in the first of $RAY_TMPDIR, $TMPDIR and the usual places that has room for Ray.

    Ray makes one of its own within, open to all users.

    Raises:
        EngineError: there is none that is writable, large and short enough.
    """
    given = [value for name in ("RAY_TMPDIR", "TMPDIR") if (value := os.environ.get(name))]
    refused = []
    for parent in dict.fromkeys([*given, "/tmp", "/var/tmp", str(SHARED_MEMORY)]):
        try:
            folder = Path(tempfile.mkdtemp(prefix="xpoll-", dir=parent)).absolute()
        except OSError as error:
            refused.append(f"{parent}: {error.strerror or error}")
            continue
        if len(os.fsencode(f"{folder}{SOCKET}")) > LONGEST_SOCKET_PATH:
            refused.append(f"{parent}: its path is too long for a socket")
        elif shutil.disk_usage(folder).free < NEEDED_BYTES:
            refused.append(f"{parent}: less than {NEEDED_BYTES // 2**20} MiB are free")
        else:
            return folder
        folder.rmdir()
    raise EngineError(f"no folder for Ray's sockets and logs: {'; '.join(refused)}", mend="free some space in /tmp")


def _token(folder: Path) -> dict[str, str]:
    """Writes Ray's token so that only this user can read it; returns the variable that names the file."""
    path = folder / "token"
    path.touch(mode=0o600)
    path.write_text(TOKEN, encoding="ascii")
    return {"RAY_AUTH_TOKEN_PATH": str(path)}


def _object_store(folder: Path) -> dict[str, Any]:
    """Size and place of the object store: shared memory, or the folder where there is too little of that."""
    is_scarce = not SHARED_MEMORY.is_dir() or shutil.disk_usage(SHARED_MEMORY).free < 2 * OBJECT_STORE_BYTES
    return {
        "object_store_memory": OBJECT_STORE_BYTES,
        "_plasma_directory": str(folder if is_scarce else SHARED_MEMORY),
    }


def _check_alone() -> None:
    """Checks that this process has no Ray of somebody else's; a process can have one.

    Raises:
        EngineError: it has.
    """
    import ray

    if ray.is_initialized():
        raise EngineError("this process is connected to a Ray that is not xpoll's", mend="ray.shutdown(), then again")


def _check_loopback() -> None:
    """Checks that this machine reaches itself; without that Ray would try for minutes.

    Raises:
        EngineError: it does not.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), 1.0).close()
    except OSError as error:
        raise EngineError(
            f"this machine does not reach itself at 127.0.0.1 ({error.strerror or error})", mend="ip link set lo up"
        ) from error
