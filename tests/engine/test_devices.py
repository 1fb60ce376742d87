"""Devices are found without libraries, and each engine is pinned to its own."""

from pathlib import Path

import pytest

from core.config import Engine
from core.errors import EngineError
from engine.backends import devices_for
from engine.devices import Device, find_devices, pinning


def fake_cards(root: Path, ids: list[str]) -> Path:
    for number, device_id in enumerate(ids):
        card = root / f"devices/0000:{number:02x}:00.0"
        card.mkdir(parents=True)
        (card / "vendor").write_text("0x8086\n")
        (card / "device").write_text(f"{device_id}\n")
        drm = root / f"class/drm/card{number}"
        drm.mkdir(parents=True)
        (drm / "device").symlink_to(card)
    return root


def test_each_tile_of_a_max_1550_is_a_device(tmp_path: Path) -> None:
    devices = find_devices("auto", 0, sysfs=fake_cards(tmp_path, ["0x0bd5", "0x0bd5"]))
    assert [str(device) for device in devices] == ["xpu:0", "xpu:1", "xpu:2", "xpu:3"]
    assert devices[0].name == "Intel Data Center GPU Max 1550"


def test_an_integrated_gpu_is_not_taken_for_an_engine(tmp_path: Path) -> None:
    devices = find_devices("auto", 0, sysfs=fake_cards(tmp_path, ["0x9a49"]))
    assert [device.kind for device in devices] == ["cpu"]


def test_asking_for_more_devices_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="2 needed, 1 found -> xpoll doctor"):
        find_devices("xpu", 2, sysfs=fake_cards(tmp_path, ["0x0bd9"]))
    with pytest.raises(EngineError, match="0 found"):
        find_devices("xpu", 0, sysfs=tmp_path / "no cards")


def test_the_cores_are_divided_between_cpu_replicas() -> None:
    whole = find_devices("cpu", 1)[0].cores
    if len(whole) < 2:
        pytest.skip("this machine has one core")
    shares = find_devices("cpu", 2)
    assert set(shares[0].cores) & set(shares[1].cores) == set()
    assert pinning(shares[1])["VLLM_CPU_OMP_THREADS_BIND"] == ",".join(map(str, shares[1].cores))
    with pytest.raises(EngineError, match="more than the"):
        find_devices("cpu", 10_000)


def test_an_engine_that_spans_several_gpus_gets_whole_groups_of_neighbours(tmp_path: Path) -> None:
    devices = find_devices("xpu", 0, parallel=2, sysfs=fake_cards(tmp_path, ["0x0bd5", "0x0bd9", "0x0bd5"]))
    assert [str(device) for device in devices] == ["xpu:0-1", "xpu:2-3"], "the fifth has no partner"
    assert pinning(devices[1])["ZE_AFFINITY_MASK"] == "2,3"
    with pytest.raises(EngineError, match="6 needed, 5 found"):
        find_devices("xpu", 3, parallel=2, sysfs=tmp_path)


def test_the_parts_of_a_cpu_engine_have_cores_of_their_own() -> None:
    device = Device("cpu", 0, "a processor", cores=(0, 1, 2, 3), parallel=2)
    assert pinning(device)["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2,3"
    assert pinning(device)["OMP_NUM_THREADS"] == "2"


def test_simulated_devices_may_be_more_than_the_cores_and_take_none_of_them() -> None:
    devices = devices_for(Engine(backend="simulated", device="cpu", replicas=1000))
    assert len(devices) == 1000
    assert {device.cores for device in devices} == {()}
    assert pinning(devices[0])["OMP_NUM_THREADS"] == "1"
    with pytest.raises(EngineError, match="1000 is more than the"):
        devices_for(Engine(device="cpu", replicas=1000))


def test_a_gpu_is_pinned_by_level_zero_mask_with_both_ray_flags(tmp_path: Path) -> None:
    device = find_devices("xpu", 0, sysfs=fake_cards(tmp_path, ["0x0bd5"]))[1]
    assert pinning(device) == {
        "ZE_AFFINITY_MASK": "1",
        "ZE_FLAT_DEVICE_HIERARCHY": "FLAT",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "RAY_EXPERIMENTAL_NOSET_ONEAPI_DEVICE_SELECTOR": "1",
        "RAY_EXPERIMENTAL_NOSET_ZE_AFFINITY_MASK": "1",
    }
