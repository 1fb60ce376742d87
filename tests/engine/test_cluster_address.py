"""The address of a Ray cluster that is not there: one line at once. Ray itself would try for a quarter of an hour."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Xpoll
from tests.support.simulated_job import write_simulated_job


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        port: int = taken.getsockname()[1]
    return port


def assert_one_line(done: "subprocess.CompletedProcess[str]", address: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count(f"engine.address = {address!r}: ") == 1, done.stderr
    assert done.stderr.rstrip().endswith("ray status"), done.stderr


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "ray://127.0.0.1:{}", "127.0.0.1:port", "head node"])
def test_poll(tmp_path: Path, xpoll: Xpoll, closed_port: int, form: str) -> None:
    write_simulated_job(tmp_path, documents=10, max_in_flight=2, time_scale=1)
    address = form.format(closed_port)
    assert_one_line(xpoll("poll", "job.toml", "--address", address, cwd=tmp_path), address)


def test_serve(tmp_path: Path, xpoll: Xpoll, closed_port: int) -> None:
    write_simulated_job(tmp_path, documents=10, max_in_flight=2, time_scale=1)
    address = f"127.0.0.1:{closed_port}"
    settings = ["--set", "engine.backend=vllm", "--set", f"engine.address={address}"]
    assert_one_line(xpoll("serve", "job.toml", *settings, cwd=tmp_path), address)
