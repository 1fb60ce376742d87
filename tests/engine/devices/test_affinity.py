"""A user's mask names the devices that it names to Level Zero, whatever its order, mode and form."""

import os
from pathlib import Path

import pytest

from tests.support.fake_machine import ARC_B60, ARC_B580, INTEGRATED, build, max_1550
from xpoll.engine.devices.affinity import NARROWING, Hierarchy, given, not_narrowed, places
from xpoll.engine.devices.find import find_devices
from xpoll.engine.devices.intel_cards import read_cards


def allowed(sysfs: Path, hierarchy: Hierarchy = "FLAT", **environment: str) -> list[tuple[str, int | None]]:
    """Address and tile of what a mask leaves over."""
    return [
        (place.card.pci_address[5:], place.tile) for place in given(places(read_cards(sysfs), hierarchy), environment)
    ]


@pytest.mark.parametrize(
    ("mask", "in_pci_order", "taken"),
    [
        ("0", "", ["03:00.0"]),
        ("1", "", ["07:00.0"]),
        ("2", "", ["00:02.0"]),
        ("1,0", "", ["03:00.0", "07:00.0"]),
        ("0", "1", ["00:02.0"]),
        ("1", "1", ["03:00.0"]),
        ("0", "0", ["03:00.0"]),
        ("3", "", []),
        ("default", "", ["00:02.0", "03:00.0", "07:00.0"]),
    ],
)
def test_discrete_cards_come_first_unless_the_user_s_processes_count_by_pci_address(
    tmp_path: Path, mask: str, in_pci_order: str, taken: list[str]
) -> None:
    sysfs = build(tmp_path, (INTEGRATED, ARC_B60, ARC_B580))
    environment = {"ZE_AFFINITY_MASK": mask}
    if in_pci_order:
        environment["ZE_ENABLE_PCI_ID_DEVICE_ORDER"] = in_pci_order
    assert [address for address, _ in allowed(sysfs, **environment)] == taken


def test_an_engine_of_xpoll_s_own_counts_by_address_whatever_the_user_s_mask_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZE_ENABLE_PCI_ID_DEVICE_ORDER", raising=False)
    monkeypatch.setenv("ZE_AFFINITY_MASK", "0")
    (device,) = find_devices("xpu", 0, sysfs=build(tmp_path, (INTEGRATED, ARC_B60)))
    assert (device.name, device.mask) == ("Intel Arc Pro B60", "1")


@pytest.mark.parametrize(
    ("mask", "counting", "taken"),
    [
        ("0.0,1.0", "FLAT", []),
        ("0.1,3", "COMBINED", [("2f:00.0", 1)]),
        ("0.0,1.0", "COMPOSITE", [("18:00.0", 0), ("2f:00.0", 0)]),
        ("1", "COMPOSITE", [("2f:00.0", 0), ("2f:00.0", 1)]),
        ("1", "FLAT", [("18:00.0", 1)]),
        ("1", "", [("18:00.0", 1)]),  # FLAT is the default on Max
        ("x,1", "FLAT", [("18:00.0", 1)]),
    ],
)
def test_an_entry_with_a_tile_counts_only_where_cards_are_devices(
    tmp_path: Path, mask: str, counting: str, taken: list[tuple[str, int]]
) -> None:
    sysfs = build(tmp_path, (max_1550("18"), max_1550("2f")))
    environment = {"ZE_AFFINITY_MASK": mask, "ZE_FLAT_DEVICE_HIERARCHY": counting}
    assert allowed(sysfs, **environment) == taken


def test_where_xpoll_takes_whole_cards_a_mask_of_tiles_allows_the_cards_of_its_tiles(tmp_path: Path) -> None:
    sysfs = build(tmp_path, (max_1550("18"), max_1550("2f")))
    environment = {"ZE_AFFINITY_MASK": "3", "ZE_FLAT_DEVICE_HIERARCHY": "FLAT"}
    assert allowed(sysfs, "COMPOSITE", **environment) == [("2f:00.0", None)]


def test_on_other_cards_the_default_counts_cards(tmp_path: Path) -> None:
    sysfs = build(tmp_path, (ARC_B60, ARC_B580))
    assert allowed(sysfs, ZE_AFFINITY_MASK="0.0") == [("03:00.0", None)]
    assert allowed(sysfs, ZE_AFFINITY_MASK="0.0", ZE_FLAT_DEVICE_HIERARCHY="FLAT") == []


def test_the_variables_that_narrow_are_back_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZE_AFFINITY_MASK", "0.0")
    monkeypatch.delenv("ONEAPI_DEVICE_SELECTOR", raising=False)
    with not_narrowed():
        assert not os.environ.keys() & set(NARROWING)
    assert os.environ["ZE_AFFINITY_MASK"] == "0.0"
    assert "ONEAPI_DEVICE_SELECTOR" not in os.environ
