"""A server's process is waited for, its last error is found, and nothing of it is left behind."""

import asyncio
import os
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from xpoll.core.errors import EngineError
from xpoll.engine.backends.backend import Load
from xpoll.engine.backends.vllm.server import load_of
from xpoll.engine.backends.vllm.server_process import WRONG_KEYS, VllmServer, as_flags
from xpoll.engine.failures import last_error

# Takes the flags of `vllm serve`, has a child as vLLM has, and answers /health after a moment.
SERVER = """
    import http.server, os, subprocess, sys, time

    print("loading", sys.argv[1], flush=True)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    time.sleep(0.3)

    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            given = self.headers.get("Authorization") == "Bearer " + os.environ["VLLM_API_KEY"]
            self.send_response(200 if self.path == "/health" or given else 401)
            self.end_headers()

    port = int(sys.argv[sys.argv.index("--port") + 1])
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", port), Healthy)
    serving.serve_forever()
"""
BROKEN = """
    print("ERROR 11-21 08:20:10 [core.py:10] Traceback (most recent call last):")
    print("(EngineCore pid=7) ERROR 11-21 08:20:10 [core.py:10] ValueError: the model is of no known kind")
    print("(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.")
    raise SystemExit(3)
"""


def server(program: str, output: Path) -> VllmServer:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    command = (sys.executable, "-c", textwrap.dedent(program))
    return VllmServer(command, "/models/m", "m", {}, output=descriptor)


def test_a_server_is_waited_for_and_ends_with_all_below_it(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    made = server(SERVER, tmp_path / "log")
    asyncio.run(made.start())
    assert made.exit_reason() is None
    below = set(psutil.Process().children(recursive=True)) - before
    assert len(below) == 2
    made.stop()
    assert not any(process.is_running() for process in below)
    assert "ended by signal 15" in str(made.exit_reason())
    assert (tmp_path / "log").read_text().startswith("loading /models/m\n")
    made.stop()  # again does no harm


def test_what_its_children_were_is_ended_even_if_the_server_was_killed(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    made = server(SERVER, tmp_path / "log")
    asyncio.run(made.start())
    below = set(psutil.Process().children(recursive=True)) - before
    serving, child = sorted(below, key=lambda process: process.pid)
    serving.kill()
    made.stop()
    assert not child.is_running()


def test_a_server_that_stops_answering_has_a_moment_to_say_how_it_ended(tmp_path: Path) -> None:
    """The kernel closes a killed process's connections before its parent can see that it has ended."""
    asked = 2 + WRONG_KEYS  # whether it is healthy, and with every key
    slow = SERVER.replace(
        "serving.serve_forever()",
        f"[serving.handle_request() for _ in range({asked})]; time.sleep(0.5); raise SystemExit(3)",
    )

    async def ends() -> tuple[str | None, str | None]:
        made = server(slow, tmp_path / "log")
        await made.start()
        try:
            return made.exit_reason(), await made.exit_reason_soon()
        finally:
            made.stop()

    at_once, soon = asyncio.run(ends())
    assert at_once is None
    assert "exit code 3" in str(soon)


def test_a_server_that_ends_early_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"exit code 3: ValueError: the model is of no known kind -> see xpoll.log"):
        asyncio.run(server(BROKEN, tmp_path / "log").start())


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="cannot start /no/such/vllm: No such file"):
        asyncio.run(VllmServer(("/no/such/vllm", "serve"), "m", "m", {}).start())


def test_options_are_flags_of_vllm_s_command_line() -> None:
    options = {
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "max_num_seqs": 128,
        "cudagraph_capture_sizes": [1, 2],
        "revision": None,
        "hf_overrides": {"a": 1},
    }
    flags = "--enforce-eager --no-enable-prefix-caching --max-num-seqs 128 --cudagraph-capture-sizes 1 2"
    assert as_flags(options) == [*flags.split(), "--hf-overrides", '{"a": 1}']


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["usage: vllm serve", "vllm serve: error: unrecognized arguments: --x", ""], "vllm serve: error: unrec"),
        (["(Worker pid=1) torch.OutOfMemoryError: XPU out of memory", "shutting down"], "torch.OutOfMemoryError: XPU"),
        (["Killed", "(APIServer pid=1) INFO:     Application startup complete.", ""], "Killed"),
        ([], ""),
    ],
)
def test_the_last_error_is_told_from_what_stands_around_it(lines: list[str], said: str) -> None:
    assert last_error(lines).startswith(said)


def test_load_is_summed_over_the_engines_of_a_server() -> None:
    metrics = """
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
"""
    assert load_of(metrics) == Load(7, 2, 0.5)
    assert load_of("# nothing here") is None


TAKER = """
    import http.server, sys, time

    class Takes(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            taken.append(self.headers.get("Authorization"))
            self.send_response(200 if len(taken) % 2 else 401)
            self.end_headers()

    taken = []
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Takes).serve_forever()
"""
ANYBODY = TAKER.replace("200 if len(taken) % 2 else 401", "200")


@pytest.mark.parametrize("program", [TAKER, ANYBODY], ids=["takes some keys", "takes every key"])
def test_another_process_on_the_port_gets_no_text(tmp_path: Path, program: str) -> None:
    made = server(program, tmp_path / "log")
    with pytest.raises(EngineError, match=r"does not know the key .* -> another process has taken the port") as raised:
        asyncio.run(made.start())
    assert made.headers["Authorization"].removeprefix("Bearer ") not in str(raised.value)
    assert made.exit_reason() is not None


def test_a_key_is_made_for_each_start_and_stands_in_no_command_line(tmp_path: Path) -> None:
    made, other = server(SERVER, tmp_path / "log"), server(SERVER, tmp_path / "log")
    assert made.headers != other.headers
    asyncio.run(made.start())
    key = made.headers["Authorization"].removeprefix("Bearer ")
    below = psutil.Process().children(recursive=True)
    assert not any(key in word for process in below for word in process.cmdline())
    made.stop()


def test_a_key_that_clients_have_stays_the_server_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "clients-key")
    assert VllmServer(("vllm",), "m", "m", {}).headers == {"Authorization": "Bearer clients-key"}
    own = VllmServer(("vllm",), "m", "m", {"api_key": ["job-key", "other"]})
    assert own.headers == {"Authorization": "Bearer job-key"}
