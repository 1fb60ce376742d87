"""hwmon and RAPL, read from trees of files as the kernel lays them out."""

from pathlib import Path

import pytest

from tests.support.fake_sysfs import make_card, make_zone
from xpoll.energy import counters
from xpoll.energy.counters import CounterError, Unwrapped
from xpoll.energy.hwmon import find_hwmon
from xpoll.energy.rapl import find_rapl
from xpoll.engine.devices.intel_cards import read_cards


def test_i915_counts_the_card_and_not_its_tiles_beside_it(tmp_path: Path) -> None:
    tiles = {"i915_gt0": {"energy1_input": 1}, "i915_gt1": {"energy1_input": 2}}
    device = make_card(tmp_path, 0, hwmons={"i915": {"energy1_input": 5_000_000}, **tiles})
    (card,) = find_hwmon(tmp_path).counters
    assert card.name == "hwmon i915 card0 (card)"
    before_j = card.read_j()
    (device / "hwmon/hwmon0/energy1_input").write_text("7500000\n")
    assert card.read_j() - before_j == pytest.approx(2.5)


def test_tiles_are_counted_where_the_card_is_not(tmp_path: Path) -> None:
    make_card(tmp_path, 1, hwmons={"i915_gt0": {"energy1_input": 1}, "i915_gt1": {"energy1_input": 2}})
    names = [counter.name for counter in find_hwmon(tmp_path).counters]
    assert names == ["hwmon i915_gt0 card1 (tile)", "hwmon i915_gt1 card1 (tile)"]


def test_xe_counts_the_card_or_else_the_package(tmp_path: Path) -> None:
    make_card(tmp_path / "a", 0, hwmons={"xe": {"energy1_input": 9_000_000, "energy2_input": 1}})
    make_card(tmp_path / "b", 0, hwmons={"xe": {"energy2_input": 3_000_000}})
    for tree, domain in (("a", "card"), ("b", "package")):
        (counter,) = find_hwmon(tmp_path / tree).counters
        assert counter.name == f"hwmon xe card0 ({domain})"
        assert counter.read_j() == 0


@pytest.mark.parametrize(
    "hwmons",
    [
        {"i915": {"energy1_input": 1}, "i915_gt0": {"energy1_input": 1}},
        {"i915_gt0": {"energy1_input": 1}, "i915_gt1": {"energy1_input": 2}},
        {"xe": {"energy1_input": 1, "energy2_input": 2}},
        {"xe": {"energy2_input": 1}},
        {"coretemp": {"energy1_input": 1}},
        {"i915": {}},
    ],
    ids=["card", "tiles", "xe", "package", "foreign", "none"],
)
def test_the_doctor_finds_a_counter_exactly_where_energy_is_read(
    tmp_path: Path, hwmons: dict[str, dict[str, int]]
) -> None:
    device = make_card(tmp_path, 0, hwmons=hwmons)
    (device / "device").write_text("0x0bda\n")
    (card,) = read_cards(tmp_path)
    counters = find_hwmon(tmp_path).counters
    assert bool(card.energy_counter) == bool(counters)
    if counters:
        Path(card.energy_counter).write_text("5000000\n")
        assert sum(counter.read_j() for counter in counters) == 0
        Path(card.energy_counter).write_text("7000000\n")
        assert sum(counter.read_j() for counter in counters) == pytest.approx(2), "it is the file that is counted"


def test_other_vendors_and_connectors_are_no_cards(tmp_path: Path) -> None:
    make_card(tmp_path, 0, hwmons={"amdgpu": {"energy1_input": 1}}, vendor="0x1002")
    (tmp_path / "class/drm/card1-DP-1").mkdir()
    found = find_hwmon(tmp_path)
    assert not found.counters
    assert "no Intel GPU" in found.why


def test_one_card_that_cannot_be_read_leaves_no_counter_at_all(tmp_path: Path) -> None:
    make_card(tmp_path, 0, hwmons={"i915": {"energy1_input": 1}})
    make_card(tmp_path, 1, hwmons={"i915": {}})
    found = find_hwmon(tmp_path)
    assert not found.counters
    assert found.why == "card1 has no energy counter"


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Makes files of this name unreadable; chmod would not, for root."""
    read_text = Path.read_text

    def refusing(path: Path, *arguments: str, **keywords: str) -> str:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **keywords)

    monkeypatch.setattr(counters.Path, "read_text", refusing)


def test_a_missing_permission_is_said_with_the_file_it_is_missing_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_card(tmp_path, 0, hwmons={"i915": {"energy1_input": 1}})
    path = make_zone(tmp_path, "0", "package-0", 1)
    refuse(monkeypatch, "energy1_input")
    assert "energy1_input may not be read by this user" in find_hwmon(tmp_path).why
    refuse(monkeypatch, "energy_uj")
    assert f"{path} may not be read by this user" in find_rapl(tmp_path).why


def test_rapl_counts_packages_and_their_memory_and_nothing_twice(tmp_path: Path) -> None:
    for zone, name in (("0", "package-0"), ("0:0", "core"), ("0:1", "dram"), ("1", "package-1"), ("2", "psys")):
        make_zone(tmp_path, zone, name, 1)
    names = [counter.name for counter in find_rapl(tmp_path).counters]
    assert names == ["rapl 0 package-0", "rapl 0:1 dram", "rapl 1 package-1"]


def test_rapl_goes_on_when_it_wraps_round(tmp_path: Path) -> None:
    path = make_zone(tmp_path, "0", "package-0", 900_000_000, range_microjoules=1_000_000_000)
    (counter,) = find_rapl(tmp_path).counters
    assert counter.read_j() == 0
    path.write_text("50000000\n")
    assert counter.read_j() == pytest.approx(150)
    path.write_text("950000000\n")
    path.write_text("10000000\n")
    assert counter.read_j() == pytest.approx(1110), "the range, 1000 J, is added once a round"


def test_a_machine_without_rapl_says_so(tmp_path: Path) -> None:
    assert "no RAPL" in find_rapl(tmp_path).why


@pytest.mark.parametrize("content", ["", "N/A\n", "12 34\n"])
def test_a_file_without_a_number_is_no_counter(tmp_path: Path, content: str) -> None:
    make_zone(tmp_path, "0", "package-0", 1).write_text(content)
    assert "energy_uj cannot be read" in find_rapl(tmp_path).why


def test_a_counter_that_vanishes_is_an_error_and_no_zero(tmp_path: Path) -> None:
    path = make_zone(tmp_path, "0", "package-0", 1)
    (counter,) = find_rapl(tmp_path).counters
    path.unlink()
    with pytest.raises(CounterError, match="cannot be read"):
        counter.read_j()


def test_a_counter_without_a_range_that_falls_was_reset() -> None:
    unwrapped = Unwrapped()
    unwrapped.add(10.0)
    with pytest.raises(CounterError, match=r"fell from 10\.000 J to 2\.000 J"):
        unwrapped.add(2.0)
