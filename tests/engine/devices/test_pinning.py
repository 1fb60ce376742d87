"""Workers are really started by Ray on machines with GPUs that are not there; each sees its own device and no other."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.fake_machine import build, max_1550

pytestmark = pytest.mark.engine

VARIANTS = ROOT / "tests/support/ray_variants"
TWO_MAX_1550 = (max_1550("18"), max_1550("2f"))


def seen_by_workers(sysfs: Path, engine: dict[str, Any], *, paths: tuple[Path, ...] = (), **more: str) -> Any:
    """What tests/support/pinned.py prints for an engine section on a machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZE_", "ONEAPI_", "RAY_"))}
    environment = {
        **kept,
        "PYTHONPATH": ":".join(map(str, (*paths, ROOT))),
        "XPOLL_SYSFS": str(sysfs),
        "RAY_DEDUP_LOGS": "0",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.pinned", json.dumps(engine)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_pinned(seen: Any, masks: list[str], hierarchy: str = "FLAT") -> None:
    """Each worker has its mask, all that `pinning` sets, and no selector that counts anew."""
    assert [each["ZE_AFFINITY_MASK"] for each in seen["pinned"]] == masks
    assert {each["ZE_FLAT_DEVICE_HIERARCHY"] for each in seen["pinned"]} == {hierarchy}
    assert not any("ONEAPI_DEVICE_SELECTOR" in each for each in seen["pinned"]), seen["pinned"]
    assert len({each["pid"] for each in seen["pinned"]}) == len(masks), "one process a device"
    for each, wanted in zip(seen["pinned"], seen["wanted"], strict=True):
        assert wanted.items() <= each.items()


def test_ray_that_sees_no_intel_gpu_is_told_of_all_tiles(tmp_path: Path) -> None:
    """Without dpctl Ray counts none, and pins GPUs as if they were NVIDIA's."""
    seen = seen_by_workers(build(tmp_path, TWO_MAX_1550), {"device": "xpu"})
    assert seen["gpus"] == 4
    assert_pinned(seen, ["0", "1", "2", "3"])
    assert not any("ZE_AFFINITY_MASK" in each for each in seen["plain"]), "Ray alone would have pinned nothing"


def test_composite_cards_are_pinned_by_card(tmp_path: Path) -> None:
    seen = seen_by_workers(build(tmp_path, TWO_MAX_1550), {"device": "xpu", "device_hierarchy": "COMPOSITE"})
    assert seen["gpus"] == 2
    assert_pinned(seen, ["0", "1"], "COMPOSITE")


@pytest.mark.parametrize(
    ("like", "alone"),
    [
        ("", [{"ZE_AFFINITY_MASK": "0"}, {"ZE_AFFINITY_MASK": "1"}]),
        ("selector", [{"ONEAPI_DEVICE_SELECTOR": "level_zero:0"}, {"ONEAPI_DEVICE_SELECTOR": "level_zero:1"}]),
        (
            "both",
            [
                {"ZE_AFFINITY_MASK": "0", "ONEAPI_DEVICE_SELECTOR": "level_zero:0"},
                {"ZE_AFFINITY_MASK": "1", "ONEAPI_DEVICE_SELECTOR": "level_zero:0"},
            ],
        ),
    ],
    ids=["as installed", "before 2.58", "2.58"],
)
def test_a_ray_that_pins_intel_gpus_itself_leaves_it_to_us(
    tmp_path: Path, like: str, alone: list[dict[str, str]]
) -> None:
    """With dpctl Ray knows the GPUs. What it does to an actor without our flags shows that the variant is at work."""
    paths = (VARIANTS / "dpctl_package", VARIANTS)
    seen = seen_by_workers(build(tmp_path, "max-1100-x4"), {"device": "xpu", "replicas": 2}, paths=paths, RAY_LIKE=like)
    ours = [{name: each[name] for name in each if name != "ZE_FLAT_DEVICE_HIERARCHY"} for each in seen["plain"]]
    assert sorted(ours, key=str) == sorted(alone, key=str)
    assert_pinned(seen, ["0", "1"])


def test_within_a_batch_system_s_mask_workers_get_its_devices_by_their_own_numbers(tmp_path: Path) -> None:
    seen = seen_by_workers(build(tmp_path, "max-1100-x4"), {"device": "xpu"}, ZE_AFFINITY_MASK="1,3")
    assert_pinned(seen, ["1", "3"])


SELECTORS: dict[str, dict[str, str]] = {
    "all of Level Zero": {"ONEAPI_DEVICE_SELECTOR": "level_zero:gpu"},
    "ALCF's frameworks module": {"ONEAPI_DEVICE_SELECTOR": "opencl:gpu;level_zero:gpu"},
    "any": {"ONEAPI_DEVICE_SELECTOR": "level_zero:*"},
    "by number": {"ONEAPI_DEVICE_SELECTOR": "level_zero:0,1"},
    "empty": {"ONEAPI_DEVICE_SELECTOR": ""},
    "tiles of a card": {"ZE_AFFINITY_MASK": "0.0,1.1", "ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE"},
    "a card of two tiles": {"ZE_AFFINITY_MASK": "0", "ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE"},
}
"""What shells of Intel machines have set."""
REALLY_STARTED = ("all of Level Zero", "ALCF's frameworks module", "by number", "empty", "tiles of a card")
"""Each start takes seconds; the others are held against Ray's own check in test_ray_selectors.py."""
MASKS = {"tiles of a card": ["0", "3"], "a card of two tiles": ["0", "1"]}
ALL_TILES = ["0", "1", "2", "3"]


def test_ray_starts_beside_dpctl_whatever_selector_or_mask_the_shell_has(tmp_path: Path) -> None:
    """Ray 2.60 compares its GPUs with the words of either variable where dpctl lets it see Intel GPUs at all."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZE_", "ONEAPI_", "RAY_"))}
    kept["PYTHONPATH"] = f"{VARIANTS / 'dpctl_package'}:{ROOT}"
    tried = json.dumps([SELECTORS[name] for name in REALLY_STARTED])
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.selectors_tried", tried],
        cwd=ROOT,
        env={**kept, "XPOLL_SYSFS": str(build(tmp_path, TWO_MAX_1550))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = dict(zip(REALLY_STARTED, json.loads(done.stdout.splitlines()[-1]), strict=True))
    wanted = {name: MASKS.get(name, ALL_TILES) for name in REALLY_STARTED}
    assert {name: each.get("masks", each) for name, each in seen.items()} == wanted
    assert {name: each["gpus"] for name, each in seen.items()} == {name: len(masks) for name, masks in wanted.items()}
    assert all(each["kept"] for each in seen.values()), "the student's training reads the shell's own"


def test_cpu_workers_have_cores_of_their_own() -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("this machine has one core")
    seen = seen_by_workers(Path("/sys"), {"device": "cpu", "replicas": 2})
    bound = [set(each["VLLM_CPU_OMP_THREADS_BIND"].split(",")) for each in seen["pinned"]]
    assert bound[0] & bound[1] == set()
    assert {each["OMP_NUM_THREADS"] for each in seen["pinned"]} == {str(len(cores) // 2)}
    assert {each["niceness"] for each in seen["pinned"]} == {0}, "Ray would lower them"


KEEPER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False,
    "env_vars": {"XPOLL_SYSFS": sys.argv[1]}, "num_gpus": int(sys.argv[2])})
cluster.add_node(num_cpus=2, num_gpus=int(sys.argv[4]), env_vars={"XPOLL_SYSFS": sys.argv[3]})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def two_machines(tmp_path: Path) -> Iterator[str]:
    """Address of a cluster: a node with a Max 1100 that was declared to Ray, one with a Max 1550 that was not."""
    pair = build(tmp_path / "a", "container-with-one-of-two"), build(tmp_path / "b", (max_1550("18"),))
    # Ray asks for a token wherever some earlier Ray has left one in the home folder, unless it is told.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**kept, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KEEPER, str(pair[0]), "1", str(pair[1]), "0"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as keeper:
        assert keeper.stdin
        assert keeper.stdout
        yield keeper.stdout.readline().strip()
        keeper.stdin.close()
        keeper.wait(timeout=60)


def test_each_node_of_a_cluster_pins_by_its_own_numbers(tmp_path: Path, two_machines: str) -> None:
    seen = seen_by_workers(tmp_path / "none", {"device": "xpu", "address": two_machines})
    by_card = sorted((each["pci_address"], each["ZE_AFFINITY_MASK"]) for each in seen["pinned"])
    assert by_card == [("0000:18:00.0", "0"), ("0000:18:00.0", "1"), ("0000:4d:00.0", "0")]
    assert seen["gpus"] == 1, "the other node had declared none"
