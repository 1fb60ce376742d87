"""Devices are found without libraries, and each engine is pinned to its own."""

import os
from pathlib import Path

import pytest

from tests.support.fake_machine import MACHINES, FakeCard, build, max_1100, max_1550, no_longer_answers
from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.engine.backends.registry import devices_for
from xpoll.engine.devices.affinity import Hierarchy
from xpoll.engine.devices.cores import core_shares, cores_by_node, cpu_list
from xpoll.engine.devices.find import Device, describe, find_devices, pinning


@pytest.fixture(autouse=True)
def _no_mask_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZE_AFFINITY_MASK", "ZE_FLAT_DEVICE_HIERARCHY", "ZE_ENABLE_PCI_ID_DEVICE_ORDER", "FI_TCP_IFACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("machine", "hierarchy", "masks", "memory_gib"),
    [
        ("max-1100", "FLAT", ["0"], 48),
        ("max-1100", "COMPOSITE", ["0"], 48),
        ("max-1100-x4", "FLAT", ["0", "1", "2", "3"], 48),
        ("max-1550-x8", "FLAT", [str(i) for i in range(16)], 64),
        ("max-1550-x8", "COMPOSITE", [str(i) for i in range(8)], 128),
        ("one-gone", "FLAT", ["0"], 48),
        ("container-with-one-of-two", "FLAT", ["0"], 48),
    ],
)
def test_each_machine_has_the_right_devices(
    tmp_path: Path, machine: str, hierarchy: Hierarchy, masks: list[str], memory_gib: float
) -> None:
    devices = find_devices("auto", 0, hierarchy=hierarchy, sysfs=build(tmp_path, machine))
    assert [pinning(device)["ZE_AFFINITY_MASK"] for device in devices] == masks
    assert {pinning(device)["ZE_FLAT_DEVICE_HIERARCHY"] for device in devices} == {hierarchy}
    assert {device.memory_gib for device in devices} == {memory_gib}


def test_an_integrated_gpu_takes_a_number_and_no_engine(tmp_path: Path) -> None:
    devices = find_devices("auto", 0, sysfs=build(tmp_path, "arc-and-integrated"))
    assert [(str(device), device.name) for device in devices] == [
        ("xpu:1", "Intel Arc Pro B60"),
        ("xpu:2", "Intel Arc B580"),
        ("xpu:3", "Intel Arc A770"),
    ]
    assert describe(devices[:2]) == "1 x xpu (Intel Arc Pro B60) and 1 x xpu (Intel Arc B580)"
    alone = find_devices("auto", 0, sysfs=build(tmp_path / "alone", (MACHINES["arc-and-integrated"][0],)))
    assert [device.kind for device in alone] == ["cpu"]


@pytest.mark.parametrize(
    ("mask", "counting", "hierarchy", "taken"),
    [
        ("2,3", "FLAT", "FLAT", ["2", "3"]),
        ("0.1,7", "COMPOSITE", "FLAT", ["1", "14", "15"]),
        ("0.0,0.1", "COMPOSITE", "COMPOSITE", ["0"]),
        ("", "FLAT", "FLAT", [str(i) for i in range(16)]),
    ],
)
def test_a_batch_system_s_mask_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mask: str,
    counting: str,
    hierarchy: Hierarchy,
    taken: list[str],
) -> None:
    monkeypatch.setenv("ZE_AFFINITY_MASK", mask)
    monkeypatch.setenv("ZE_FLAT_DEVICE_HIERARCHY", counting)
    devices = find_devices("xpu", 0, hierarchy=hierarchy, sysfs=build(tmp_path, "max-1550-x8"))
    assert [device.mask for device in devices] == taken


def test_asking_for_more_devices_than_there_are_is_refused_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="2 needed, 1 found -> xpoll doctor"):
        find_devices("xpu", 2, sysfs=build(tmp_path, "max-1100"))
    with pytest.raises(EngineError, match="0 found -> xpoll doctor"):
        find_devices("xpu", 0, sysfs=tmp_path / "no cards")
    sysfs = tmp_path / "sys"
    no_longer_answers(sysfs, "0000:3b:00.0")
    with pytest.raises(EngineError, match=r"0 found \(Intel Data Center GPU Max 1100 at 0000:3b:00.0: gone\)"):
        find_devices("xpu", 0, sysfs=sysfs)


def test_the_cores_are_divided_between_cpu_replicas() -> None:
    whole = find_devices("cpu", 1)[0].cores
    if len(whole) < 2:
        pytest.skip("this machine has one core")
    shares = find_devices("cpu", 2)
    assert set(shares[0].cores) & set(shares[1].cores) == set()
    assert pinning(shares[1])["VLLM_CPU_OMP_THREADS_BIND"] == ",".join(map(str, shares[1].cores))
    with pytest.raises(EngineError, match="more than the"):
        find_devices("cpu", 10_000)


def two_nodes(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two processors of four cores with two threads each; the kernel numbers the second threads last."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    for node, cpus in enumerate(("0-3,8-11", "4-7,12-15")):
        folder = root / f"devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpus}\n")
    for cpu in range(16):
        folder = root / f"devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 8},{cpu % 8 + 8}\n")
    return root


def test_a_share_of_the_cores_stays_on_its_numa_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sysfs = two_nodes(tmp_path, monkeypatch)
    assert cores_by_node(sysfs)[0] == [0, 8, 1, 9, 2, 10, 3, 11], "threads of a core stand side by side"
    assert core_shares(2, 1, sysfs) == [(0, 8, 1, 9, 2, 10, 3, 11), (4, 12, 5, 13, 6, 14, 7, 15)]
    assert core_shares(4, 1, sysfs)[1:3] == [(2, 10, 3, 11), (4, 12, 5, 13)]
    assert core_shares(1, 2, sysfs) == [(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15)]
    three = core_shares(3, 1, sysfs)
    assert [len(share) for share in three] == [5, 5, 5], "they cannot be divided evenly over two nodes"
    assert len({core for share in three for core in share}) == 15


def test_the_kernel_s_lists_of_processors_are_read() -> None:
    assert cpu_list("0-3,8,10-11") == [0, 1, 2, 3, 8, 10, 11]
    assert cpu_list("") == []


def test_an_engine_that_spans_several_gpus_gets_neighbours_of_one_product(tmp_path: Path) -> None:
    mixed = build(tmp_path, (max_1550("18"), max_1100("2f"), max_1550("42")))
    devices = find_devices("xpu", 0, parallel=2, sysfs=mixed)
    assert [str(device) for device in devices] == ["xpu:0-1", "xpu:3-4"], "the Max 1100 has no partner"
    assert pinning(devices[1])["ZE_AFFINITY_MASK"] == "3,4"
    with pytest.raises(EngineError, match="6 needed, 5 found"):
        find_devices("xpu", 3, parallel=2, sysfs=mixed)


def test_neighbours_need_not_have_following_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZE_AFFINITY_MASK", "0,2")
    (device,) = find_devices("xpu", 0, parallel=2, sysfs=build(tmp_path, "max-1100-x4"))
    assert (str(device), device.mask) == ("xpu:0+2", "0,2")


def test_the_parts_of_a_cpu_engine_have_cores_of_their_own() -> None:
    device = Device("cpu", 0, "a processor", cores=(0, 1, 2, 3), parallel=2)
    assert pinning(device)["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2,3"
    assert pinning(device)["OMP_NUM_THREADS"] == "2"


def test_simulated_devices_may_be_more_than_the_cores_and_take_none_of_them() -> None:
    devices = devices_for(EngineConfig(backend="simulated", device="cpu", replicas=1000))
    assert len(devices) == 1000
    assert {device.cores for device in devices} == {()}
    assert pinning(devices[0])["OMP_NUM_THREADS"] == "1"
    with pytest.raises(EngineError, match="1000 is more than the"):
        devices_for(EngineConfig(device="cpu", replicas=1000))


def test_a_gpu_is_pinned_by_level_zero_mask_with_both_ray_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FI_TCP_IFACE", "hsn0")
    device = find_devices("xpu", 0, sysfs=build(tmp_path, (FakeCard("0x0bd5", "0000:18:00.0", tiles=2),)))[1]
    assert pinning(device) == {
        "ZE_AFFINITY_MASK": "1",
        "ZE_FLAT_DEVICE_HIERARCHY": "FLAT",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "RAY_EXPERIMENTAL_NOSET_ONEAPI_DEVICE_SELECTOR": "1",
        "RAY_EXPERIMENTAL_NOSET_ZE_AFFINITY_MASK": "1",
        "ZES_ENABLE_SYSMAN": "1",
        "CCL_ATL_TRANSPORT": "ofi",
        "CCL_PROCESS_LAUNCHER": "none",
        "CCL_ZE_IPC_EXCHANGE": "sockets",
        "FI_TCP_IFACE": "hsn0",
    }


def test_handles_are_exchanged_as_each_family_s_own_images_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CCL_ZE_IPC_EXCHANGE", raising=False)
    (arc,) = find_devices("xpu", 0, sysfs=build(tmp_path, "arc-b70"))
    assert pinning(arc)["CCL_ZE_IPC_EXCHANGE"] == "pidfd"
    monkeypatch.setenv("CCL_ZE_IPC_EXCHANGE", "drmfd")
    assert pinning(arc)["CCL_ZE_IPC_EXCHANGE"] == "drmfd", "the user's own wins"
