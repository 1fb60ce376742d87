"""What may happen around a run: signals to all of it, a closed terminal, Ray killed, strangers, odd folders."""

import os
import pty
import signal
import socket
import stat
from collections.abc import Collection
from pathlib import Path

import psutil
import pytest

from tests.conftest import Xpoll
from tests.support.listening import LOOPBACK, listening_below
from tests.support.poll_process import Poll
from tests.support.simulated_job import write_simulated_job
from xpoll.engine.local_ray import OBJECT_STORE_BYTES

pytestmark = pytest.mark.engine

PLANTED = {
    "OPENAI_API_KEY": "planted-openai-key-1",
    "HF_TOKEN": "planted-hub-token-2",
    "ANY_PASSWORD": "planted-password-3",
}


def others(poll: Poll) -> set[int]:
    """Ports where processes listen that are none of the poll's."""
    ours = {poll.driver.pid, *(process.pid for process in poll.processes())}
    everyone = psutil.net_connections("tcp")
    return {each.laddr.port for each in everyone if each.status == psutil.CONN_LISTEN and each.pid not in ours}


def store_bytes(raylet: psutil.Process) -> int:
    """Bytes that are allocated to the object store's file, which has no name any more."""
    opened = Path(f"/proc/{raylet.pid}/fd").iterdir()
    return max(path.stat().st_blocks * 512 for path in opened if "plasma" in str(path.readlink()))


def other_address() -> str | None:
    """An address of this machine that is not loopback."""
    addresses = [address for each in psutil.net_if_addrs().values() for address in each]
    found = (each.address for each in addresses if each.family == socket.AF_INET)
    return next((address for address in found if not address.startswith("127.")), None)


def test_a_stranger_reaches_nothing_and_a_signal_to_all_processes_drains(tmp_path: Path) -> None:
    with Poll(tmp_path) as poll:
        poll.wait_for_answers(50)
        found = listening_below(poll.driver.pid)
        assert {"raylet", "gcs_server"} <= set(found.values()), "the test sees what listens"
        assert {address for address, _ in found} <= LOOPBACK, found
        if (address := other_address()) is not None:
            for port in {port for _, port in found} - others(poll):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((address, port), 2)
        token = Path(poll.named("raylet").environ()["RAY_AUTH_TOKEN_PATH"])
        assert [stat.S_IMODE(path.stat().st_mode) for path in (token, token.parent)] == [0o600, 0o700]
        assert store_bytes(poll.named("raylet")) >= OBJECT_STORE_BYTES, "a full /dev/shm takes no page from it"
        for process in [psutil.Process(poll.driver.pid), *poll.processes()]:  # as scancel and systemd do
            process.send_signal(signal.SIGTERM)
        code, said = poll.end(within_s=30)
        assert (code, "waiting for the answers in flight" in said, "Traceback" in said) == (130, True, False), said
        assert "what was done is kept -> xpoll poll job.toml" in said
        assert 50 <= poll.answers() < 1500
        assert not token.parent.exists(), "Ray's folder goes with it"


def holders(secrets: Collection[str], folder: Path, *, but: Path) -> list[str]:
    """The files below a folder, one left out, that hold one of the secrets."""
    files = [path for path in folder.rglob("*") if path.is_file() and path != but]
    return [str(path) for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]


def test_no_secret_is_in_a_log_of_ray_a_command_line_or_what_a_poll_leaves(tmp_path: Path) -> None:
    with Poll(tmp_path, documents=200, environment=PLANTED) as poll:
        poll.wait_for_answers(20)
        token = Path(poll.named("raylet").environ()["RAY_AUTH_TOKEN_PATH"])
        secrets = [*PLANTED.values(), token.read_text().strip()]
        assert len(list(token.parent.rglob("*.log"))) > 3, "the test sees Ray's logs"
        assert holders(secrets, token.parent, but=token) == []
        lines = [" ".join(process.cmdline()) for process in poll.processes()]
        assert not [line for line in lines if any(secret in line for secret in secrets)], "any user sees these"
        code, said = poll.end(within_s=120)
    assert code == 0, said
    assert holders(secrets, tmp_path, but=token) == [], "run folder and output"
    assert not token.parent.exists(), "Ray's folder goes with it"


def test_a_killed_driver_leaves_no_token(tmp_path: Path) -> None:
    with Poll(tmp_path) as poll:
        poll.wait_for_answers(20)
        token, below = Path(poll.named("raylet").environ()["RAY_AUTH_TOKEN_PATH"]), poll.processes()
        assert token.is_file()
        poll.driver.kill()
        poll.driver.wait(timeout=30)
        assert psutil.wait_procs(below, timeout=60)[1] == []
    assert not token.exists()


def test_a_closed_terminal_drains(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    with Poll(tmp_path, terminal=terminal) as poll:
        poll.wait_for_answers(50)
        os.close(terminal)
        os.close(master)  # what is written there now is refused
        os.killpg(poll.driver.pid, signal.SIGHUP)
        code, _ = poll.end(within_s=30)
        assert code == 130
        assert 50 <= poll.answers() < 1500


def test_a_signal_behind_the_last_answer_is_no_crash(tmp_path: Path) -> None:
    with Poll(tmp_path, documents=100, time_scale=0.1) as poll:
        poll.wait_for_answers(100)  # sealing and the end of workers and Ray are left
        os.killpg(poll.driver.pid, signal.SIGTERM)
        code, said = poll.end(within_s=30)
        assert (code, "Traceback" in said) == (130, False), said
        assert "what was done is kept -> xpoll poll job.toml" in said
        assert poll.answers() == 100


def test_a_killed_raylet_is_named_at_once(tmp_path: Path) -> None:
    with Poll(tmp_path) as poll:
        poll.wait_for_answers(50)
        poll.named("raylet").kill()
        code, said = poll.end(within_s=40)
        assert code == 75
        assert "Ray's raylet has ended (SIGKILL)" in said and "resumes from the answers kept" in said, said
        assert "Traceback" not in said and "start_timeout_s" not in said, said
        assert 50 <= poll.answers() < 1500


def test_a_long_temporary_folder_and_no_home_to_write_to(tmp_path: Path, xpoll: Xpoll) -> None:
    long = tmp_path / ("long-" * 20)
    long.mkdir()
    write_simulated_job(tmp_path, documents=20, max_in_flight=8, time_scale=0)
    done = xpoll("poll", "job.toml", cwd=tmp_path, timeout_s=120, env={"TMPDIR": str(long), "HOME": "/proc/1/none"})
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
