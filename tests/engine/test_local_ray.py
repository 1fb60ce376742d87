"""Where a Ray of our own lives: short, private and large enough a folder, or one line that says what is in the way."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from xpoll.core.errors import EngineError, UnavailableError
from xpoll.core.machine import environment
from xpoll.core.machine.processes import signals_blocked, signals_let_through
from xpoll.engine import local_ray as module
from xpoll.engine.local_ray import LONGEST_SOCKET_PATH, SOCKET, check_ray, local_ray, ray_is_alive, temporary_folder

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def no_folders_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("given", ["long", "missing", "a file", "full"])
def test_a_temporary_folder_that_does_not_do_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    refused = {"long": tmp_path / ("x" * 100), "full": Path("/var/tmp")}.get(given, tmp_path / "none")
    if given == "long":
        refused.mkdir()
    if given == "a file":
        refused.touch()
    if given == "full":
        real = shutil.disk_usage
        full = Usage(2**30, 2**30, 0)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: full if str(path).startswith("/var/tmp") else real(path))
    monkeypatch.setenv("TMPDIR", str(refused))
    folder = temporary_folder()
    try:
        assert not folder.is_relative_to(refused)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(os.fsencode(f"{folder}{SOCKET}")) <= LONGEST_SOCKET_PATH
        assert refused.is_file() or not refused.is_dir() or not list(refused.glob("xpoll-*"))
    finally:
        folder.rmdir()


def test_a_short_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    folder = temporary_folder()
    folder.rmdir()
    assert folder.parent == Path("/var/tmp")


def test_no_folder_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**30, 2**30, 0))
    with pytest.raises(EngineError, match=r"/tmp: less than 192 MiB are free; /var/tmp: .* -> free some space in /tmp"):
        temporary_folder()


def test_a_start_that_fails_is_one_line_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "guard_descendants", lambda **_: mock.Mock())
    folders: list[Path] = []
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")}

    def start(**where: Any) -> None:
        folders.append(Path(where["_temp_dir"]).parent)
        assert stat.S_IMODE(Path(os.environ["RAY_AUTH_TOKEN_PATH"]).stat().st_mode) == 0o600
        raise OSError("many lines\nof which this is the last")

    with (
        pytest.raises(EngineError, match="Ray does not start: of which this is the last -> xpoll doctor"),
        local_ray(start),
    ):
        pytest.fail("it started")
    assert not folders[0].exists()
    assert {name: os.environ.get(name) for name in before} == before


def test_a_machine_that_does_not_reach_itself_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    with pytest.raises(EngineError, match=r"127\.0\.0\.1 \(Network is unreachable\) -> ip link set lo up"):
        local_ray(lambda **_: pytest.fail("Ray is not started")).__enter__()


def test_a_part_that_ends_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for how, named in (("kill", "SIGKILL"), ("exit", "exit code 3")):
        command = "import time; time.sleep(60)" if how == "kill" else "raise SystemExit(3)"
        with subprocess.Popen([sys.executable, "-c", command]) as part:
            monkeypatch.setattr(module, "_parts", {part.pid: "raylet"})
            if how == "kill":
                check_ray()
                assert ray_is_alive()
                part.kill()
            os.waitid(os.P_PID, part.pid, os.WEXITED | os.WNOWAIT)
            assert not ray_is_alive()
            with pytest.raises(
                UnavailableError, match=rf"Ray's raylet has ended \({named}\).* -> the same command resumes"
            ):
                check_ray()


def test_what_is_started_deaf_stays_so_until_it_is_let_through() -> None:
    blocked = "import signal; print(len(signal.pthread_sigmask(signal.SIG_BLOCK, []) & {1, 15}))"

    def count() -> int:
        return int(subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=True).stdout)

    assert count() == 0
    with signals_blocked():
        assert count() == 2
        with signals_let_through():
            assert count() == 0
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGHUP, signal.SIGTERM}


def test_a_user_without_a_home_has_one_for_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("HOME", "LOGNAME", "XDG_CACHE_HOME", "VLLM_CACHE_ROOT"):
        monkeypatch.setenv(name, "to be restored")  # so that what is set below is undone
        monkeypatch.delenv(name)

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(environment.pwd, "getpwuid", unknown)
    environment.settle_home()
    home = tmp_path / f"xpoll-home-{os.getuid()}"
    assert Path(os.environ["HOME"]) == home and stat.S_IMODE(home.stat().st_mode) == 0o700
    assert os.environ["XDG_CACHE_HOME"] == str(home) and os.environ["LOGNAME"] == f"user-{os.getuid()}"


def test_a_folder_of_someone_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(environment.tempfile, "tempdir", str(tmp_path))
    assert environment._own_folder("mine") == tmp_path / "mine"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    for name in ("link", "open"):
        assert environment._own_folder(name) not in (tmp_path / name, tmp_path / "elsewhere")


def test_a_home_that_can_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    environment.settle_home()
    assert os.environ["HOME"] == str(tmp_path) and "XDG_CACHE_HOME" not in os.environ
