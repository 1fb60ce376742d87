"""One run on several Ray nodes: each has a raylet of its own, as on several machines."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT
from tests.support.simulated_job import write_simulated_job
from xpoll.core.files import read_json
from xpoll.engine.journal.answers import count_answers, read_completions

pytestmark = pytest.mark.engine

DOCUMENTS = 2000
# Ray asks for a token wherever some earlier Ray has left one in the home folder, unless it is told.
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
KEEPER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=2) for _ in range(int(sys.argv[1]))]
raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
print(cluster.address, *raylets, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


NODES = 3


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[int]]]:
    """Address of a cluster, and the raylets of the nodes that are not its head."""
    environment = {**os.environ, **ENVIRONMENT}
    command = [sys.executable, "-c", KEEPER, str(NODES - 1)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as keeper:
        assert keeper.stdout
        assert keeper.stdin
        address, *raylets = keeper.stdout.readline().split()
        yield address, list(map(int, raylets))
        keeper.stdin.close()
        keeper.wait(timeout=60)


def lose_node(raylet: int) -> None:
    """All its processes at once, as when a machine loses its power."""
    node = psutil.Process(raylet)
    for process in [node, *node.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_run_goes_on_when_a_node_is_lost(tmp_path: Path, cluster: tuple[str, list[int]]) -> None:
    address, raylets = cluster
    write_simulated_job(tmp_path, documents=DOCUMENTS, max_in_flight=64, time_scale=6.0)
    command = [sys.executable, "-P", "-m", "xpoll", "poll", "job.toml", "--address", address]
    environment = {**os.environ, **ENVIRONMENT}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as driver:
        while count_answers(tmp_path / "run/completions") < 300:
            assert driver.poll() is None, driver.stderr and driver.stderr.read()
            time.sleep(0.05)
        lose_node(raylets[0])
        _, said = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    completions = list(read_completions(tmp_path / "run/completions"))
    assert len(completions) == len({completion.key for completion in completions}) == DOCUMENTS
    assert Counter(completion.error_kind for completion in completions) == {None: DOCUMENTS}
    workers = Counter(completion.worker for completion in completions)
    assert set(workers) == {f"worker-{i}" for i in range(NODES)}, "every node had an engine"
    assert read_json(tmp_path / "run/engine.json")["replicas"] == NODES
    log = (tmp_path / "run/xpoll.log").read_text()
    # Whether it is also given up depends on whether the other nodes are done first.
    assert ": its worker died" in log
