"""Intel GPUs are found in the kernel's files, with what each driver says of them and what keeps engines off them."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_machine import MACHINES, FakeCard, build, is_removed, no_longer_answers
from xpoll.engine.devices.find import left_out
from xpoll.engine.devices.intel_cards import Card, cards_as_json, read_cards
from xpoll.engine.devices.intel_products import PRODUCTS


def test_a_max_1100_is_read_whole(tmp_path: Path) -> None:
    (card,) = read_cards(build(tmp_path, "max-1100"))
    assert card == Card(
        pci_address="0000:3b:00.0",
        device_id="0x0bda",
        product=PRODUCTS["0x0bda"],
        driver="i915",
        driver_version="1.25.2.23.250224",
        render_node="/dev/dri/renderD128",
        problem="",
        numa_node=0,
        tiles=1,
        memory_gib=48,
        memory_source="driver",
        energy_counter=card.energy_counter,
    )
    assert Path(card.energy_counter).read_text() == "123456789\n"


def test_what_a_run_was_made_with_names_card_and_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, "max-1100")))
    assert cards_as_json() == [
        {
            "name": "Intel Data Center GPU Max 1100",
            "pci_address": "0000:3b:00.0",
            "driver": "i915 1.25.2.23.250224",
            "memory_gib": 48.0,
            "tiles": 1,
            "problem": None,
        }
    ]


def test_the_tiles_of_a_max_1550_are_counted_by_either_driver(tmp_path: Path) -> None:
    xe = FakeCard("0x0bd5", "0000:18:00.0", driver="xe", tiles=2, memory_gib=128)
    (by_xe,) = read_cards(build(tmp_path / "xe", (xe,)))
    by_i915 = read_cards(build(tmp_path / "i915", "max-1550-x8"))
    assert (by_xe.tiles, by_xe.memory_gib, by_xe.driver_version) == (2, 128, "of Linux 5.14.21-lts")
    assert [(card.tiles, card.memory_gib, card.numa_node) for card in by_i915] == [
        (2, 128, 0 if i < 4 else 1) for i in range(8)
    ]


def test_a_driver_that_says_nothing_of_memory_leaves_it_to_the_table_or_unknown(tmp_path: Path) -> None:
    mainline = (
        FakeCard("0x0bda", "0000:3b:00.0", driver="i915"),
        FakeCard("0x56a0", "0000:3c:00.0", driver="i915"),
    )
    max_1100, a770 = read_cards(build(tmp_path, mainline))
    assert (max_1100.memory_gib, max_1100.memory_source) == (48, "table")
    assert (a770.memory_gib, a770.memory_source) == (None, "")


def test_cards_come_in_the_order_of_their_pci_addresses_and_others_are_not_taken(tmp_path: Path) -> None:
    nvidia = FakeCard("0x2330", "0000:01:00.0", driver="xe", vendor="0x10de", pci_class="0x030200")
    cards = read_cards(build(tmp_path, (nvidia, *MACHINES["arc-and-integrated"])))
    assert [(card.pci_address, card.product.name, card.is_discrete) for card in cards] == [
        ("0000:00:02.0", "Intel integrated GPU (0x46a6)", False),
        ("0000:03:00.0", "Intel Arc Pro B60", True),
        ("0000:07:00.0", "Intel Arc B580", True),
        ("0000:0a:00.0", "Intel Arc A770", True),
    ]


def test_a_discrete_card_that_is_not_in_the_table_is_still_a_card(tmp_path: Path) -> None:
    (card,) = read_cards(build(tmp_path, (FakeCard("0x7fff", "0000:3b:00.0", driver="xe", memory_gib=160),)))
    assert (card.product.name, card.memory_gib, card.is_discrete) == ("Intel GPU (0x7fff)", 160, True)


@pytest.mark.parametrize(
    ("device_id", "name", "family", "memory_gib"),
    [
        ("0xe211", "Intel Arc Pro B60", "arc-b", 22.71),
        ("0xe222", "Intel Arc Pro B65", "arc-b", 30.30),
        ("0xe223", "Intel Arc Pro B70", "arc-b", 30.30),
        ("0x674c", "Intel Crescent Island", "crescent-island", None),
        ("0x674f", "Intel Crescent Island", "crescent-island", None),
    ],
)
def test_the_cards_of_2026_are_known_with_the_memory_that_the_runtime_shows(
    tmp_path: Path, device_id: str, name: str, family: str, memory_gib: float | None
) -> None:
    """Linux's own xe driver reports no size, and out-of-tree ones what is built in, of which programs get less."""
    (mainline,) = read_cards(build(tmp_path / "mainline", (FakeCard(device_id, "0000:3b:00.0", driver="xe"),)))
    assert (mainline.product.name, mainline.product.family, mainline.memory_gib) == (name, family, memory_gib)
    built_in = FakeCard(device_id, "0000:3b:00.0", driver="xe", memory_gib=480)
    (told,) = read_cards(build(tmp_path / "told", (built_in,)))
    assert (told.memory_gib, told.memory_source) == ((memory_gib, "table") if memory_gib else (480, "driver"))


def test_a_known_card_on_the_root_bus_of_a_virtual_machine_is_not_taken_for_integrated(tmp_path: Path) -> None:
    (card,) = read_cards(build(tmp_path, (FakeCard("0x0bda", "0000:00:05.0", memory_gib=48),)))
    assert card.is_discrete


@pytest.mark.parametrize(
    ("machine", "problems"),
    [
        ("no-driver", ["no driver"]),
        ("one-gone", ["", "gone"]),
        ("container-with-one-of-two", ["no render node", ""]),
    ],
)
def test_what_keeps_engines_off_a_card_is_named(tmp_path: Path, machine: str, problems: list[str]) -> None:
    assert [card.problem for card in read_cards(build(tmp_path, machine))] == problems


def test_a_card_that_disappears_while_we_look_is_gone(tmp_path: Path) -> None:
    sysfs = build(tmp_path, "max-1100-x4")
    no_longer_answers(sysfs, "0000:4d:00.0")
    is_removed(sysfs, "0000:c8:00.0")
    assert [card.problem for card in read_cards(sysfs)] == ["", "gone", "", "gone"]
    assert left_out(sysfs) == [
        "Intel Data Center GPU Max 1100 at 0000:4d:00.0: gone",
        "Intel GPU at 0000:c8:00.0: gone",
    ]


@pytest.fixture
def readable_by_all() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _read_as_nobody(sysfs: Path, answer: "multiprocessing.Queue[list[str]]") -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    answer.put(left_out(sysfs))


def test_a_render_node_without_permission_is_named(readable_by_all: Path) -> None:
    """Asked by someone who is not root, in a process of his own: root may open every file."""
    sysfs = build(readable_by_all, "no-permission")
    (readable_by_all / "dev/dri/renderD128").chmod(0o000)
    context = multiprocessing.get_context("fork")
    answer: multiprocessing.Queue[list[str]] = context.Queue()
    child = context.Process(target=_read_as_nobody, args=(sysfs, answer))
    child.start()
    said = answer.get(timeout=30)
    child.join()
    assert said == ["Intel Data Center GPU Max 1100 at 0000:3b:00.0: no permission on /dev/dri/renderD128"]


def test_the_table_of_products_is_in_one_spelling() -> None:
    for device_id, product in PRODUCTS.items():
        assert device_id == device_id.lower(), device_id
        assert product.tiles in (1, 2), product
        assert product.family == "max" or product.tiles == 1, f"only Max cards have several tiles: {product}"
