"""The install command, tried with uv and pip on package indexes in files that hold what the real ones hold.

PyPI has a release of `vllm` that is built for CUDA; vLLM's nightly index has pre-releases for XPU, a release's index
that release for XPU. Wheels and indexes are stand-ins; how uv and pip choose between them is real.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from uv import find_uv_bin

from tests.support.stand_in_wheels import index, wheel
from xpoll.engine.devices.stacks import stack

STACK = stack("modern")
NIGHTLY = "0.33.1rc1.dev457+gc810e5ee9.xpu"
NEEDS = [f"torch=={STACK.torch.partition('+')[0]}", STACK.triton, STACK.kernels]
UV = find_uv_bin()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where /pypi, /nightly, /RELEASE/xpu, /xpu and /torch are served."""
    root = tmp_path_factory.mktemp("indexes")
    made = root / "wheels"
    torch = STACK.torch.partition("+")[0]
    kernels = STACK.kernels.split("==")
    on_pypi = [
        wheel(made / "pypi", "vllm", STACK.vllm, ["flashinfer-python", f"torch=={torch}"]),
        wheel(made / "pypi", "flashinfer-python", "0.6.1"),
        wheel(made / "pypi", "torch", torch),
        wheel(made / "pypi", "triton", "3.8.0"),
        wheel(made / "pypi", *kernels),
    ]
    index(root / "pypi", on_pypi)
    index(root / "nightly", [wheel(made / "nightly", "vllm", NIGHTLY, NEEDS)])
    index(root / f"{STACK.vllm}/xpu", [wheel(made / "release", "vllm", f"{STACK.vllm}+xpu", NEEDS)])
    index(root / "empty/xpu", [])
    index(root / "xpu", [wheel(made / "xpu", *STACK.triton.split("=="))])
    index(root / "torch", [wheel(made / "torch", "torch", STACK.torch)])
    with served(root) as where:
        yield where


def installed(python: Path) -> dict[str, str]:
    """Name and version of what an environment has."""
    names = (path.name.removesuffix(".dist-info") for path in python.parent.parent.glob("lib/python*/*/*.dist-info"))
    return {name.rpartition("-")[0]: name.rpartition("-")[2] for name in names}


def environment(folder: Path) -> Path:
    """The interpreter of a new environment without packages."""
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    return folder / "bin/python"


def run(command: list[str], address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "UV_CACHE_DIR": str(folder / "cache")}
    kept |= {"UV_DEFAULT_INDEX": f"{address}/pypi", "PIP_INDEX_URL": f"{address}/pypi", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(command, env=kept, capture_output=True, text=True, cwd=folder)


def command_of_the_table(address: str, python: Path) -> list[str]:
    """The last of `install`'s commands with its indexes and its environment exchanged for those of the test."""
    *_, last = STACK.install.split("; ")
    exchanged = last.replace("https://wheels.vllm.ai", address).replace(
        "https://download.pytorch.org/whl/xpu", f"{address}/torch"
    )
    assert not re.search(r"https://", exchanged)
    words = shlex.split(exchanged.replace(".venv-xpu", str(python)))
    assert words[0] == "uv"
    return [UV, *words[1:]]


def test_the_pinned_command_installs_the_build_for_xpu_with_its_torch_and_triton(address: str, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv")
    done = run(command_of_the_table(address, python), address, tmp_path)
    assert done.returncode == 0, done.stderr
    found = installed(python)
    assert found["vllm"] == f"{STACK.vllm}+xpu"
    assert found["torch"] == STACK.torch
    assert found["triton"] == STACK.triton.partition("==")[2]
    assert found["vllm_xpu_kernels"] == STACK.kernels.partition("==")[2]
    assert "flashinfer_python" not in found


def test_where_the_index_lacks_the_release_the_pinned_command_fails_instead_of_taking_cuda_s(
    address: str, tmp_path: Path
) -> None:
    python = environment(tmp_path / "venv")
    without = [word.replace(f"/{STACK.vllm}/xpu", "/empty/xpu") for word in command_of_the_table(address, python)]
    done = run(without, address, tmp_path)
    assert done.returncode != 0
    assert f"{STACK.vllm}+xpu" in done.stderr
    assert installed(python) == {}


@pytest.mark.parametrize(
    ("tool", "index_name", "found"),
    [
        # What was printed before: a pre-release on an extra index loses to PyPI's release.
        ("pip", "nightly", STACK.vllm),
        ("uv best match", "nightly", STACK.vllm),
        ("uv first index", "nightly", NIGHTLY),
        ("pip", f"{STACK.vllm}/xpu", f"{STACK.vllm}+xpu"),
    ],
)
def test_how_unpinned_commands_choose(address: str, tmp_path: Path, tool: str, index_name: str, found: str) -> None:
    python = environment(tmp_path / "venv")
    extra = ["--no-deps", "--extra-index-url", f"{address}/{index_name}", "vllm"]
    if tool == "pip":
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *extra]
    else:
        strategy = ["--index-strategy", "unsafe-best-match"] if tool == "uv best match" else []
        command = [UV, "pip", "install", "--python", str(python), *strategy, *extra]
    done = run(command, address, tmp_path)
    assert done.returncode == 0, done.stderr
    assert installed(python)["vllm"] == found


def test_triton_is_exchanged_by_its_own_command(address: str, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv")
    for command in ("uv pip install triton==3.8.0", *STACK.install_triton.split("; ")):
        exchanged = command.replace("https://wheels.vllm.ai", address).replace(
            "https://download.pytorch.org/whl/xpu", f"{address}/torch"
        )
        words = [UV, *shlex.split(exchanged)[1:3], "--python", str(python), *shlex.split(exchanged)[3:]]
        done = run(words, address, tmp_path)
        assert done.returncode == 0, done.stderr
    assert installed(python)["triton"] == "3.8.0+xpu"
