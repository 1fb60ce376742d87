"""Level Zero Sysman against loaders of our own, which show power domains as Intel's drivers do."""

import time
from pathlib import Path

import pytest

from tests.support.level_zero import (
    CARD,
    I915_TWO_TILES,
    MEMORY,
    PACKAGE,
    UNKNOWN,
    UNSUPPORTED,
    Domains,
    build_loader,
)
from xpoll.energy.counters import CounterError
from xpoll.energy.sources import find_counters
from xpoll.energy.stages import measured_stage, read_stages
from xpoll.energy.sysman import Sysman, find_sysman


def test_tiles_are_inside_the_package_and_not_counted_again(tmp_path: Path) -> None:
    sysman = Sysman(build_loader(tmp_path))
    assert [sysman.read_j(), sysman.read_j()] == [{"gpu0 (package)": 1.0}, {"gpu0 (package)": 1.5}]


def test_a_loader_without_zesinit_is_read_through_the_core(tmp_path: Path) -> None:
    sysman = Sysman(build_loader(tmp_path, with_init=("ZE",), cards=2))
    assert sysman.read_j() == {"gpu0 (package)": 1.0, "gpu1 (package)": 2.0}


def test_a_library_without_either_is_no_loader(tmp_path: Path) -> None:
    assert "neither zesInit nor zeInit" in find_sysman(build_loader(tmp_path, with_init=())).why


@pytest.mark.parametrize(
    ("domains", "card_domain", "measured", "step_j"),
    [
        (((None, PACKAGE, 300_000), (None, CARD, 500_000), (None, MEMORY, 100_000)), UNSUPPORTED, "card", 0.5),
        (((None, CARD, 500_000), (None, PACKAGE, 300_000)), 0, "card", 0.5),
        (((None, PACKAGE, 300_000),), UNSUPPORTED, "package", 0.3),
        (((0, PACKAGE, 100_000), (None, UNKNOWN, 300_000)), UNSUPPORTED, "unknown domain", 0.3),
    ],
    ids=["xe", "card function", "one tile", "driver without names"],
)
def test_the_most_inclusive_domain_is_read_and_named(
    tmp_path: Path, domains: Domains, card_domain: int, measured: str, step_j: float
) -> None:
    sysman = Sysman(build_loader(tmp_path, domains=domains, card_domain=card_domain))
    first, second = sysman.read_j(), sysman.read_j()
    (key,) = first
    assert key == f"gpu0 ({measured})"
    assert second[key] - first[key] == pytest.approx(step_j)


@pytest.mark.parametrize(
    ("domains", "shown"),
    [
        (((None, UNKNOWN, 1), (None, UNKNOWN, 1)), "2 power domains.*unknown domain, unknown domain"),
        (((0, PACKAGE, 1), (1, PACKAGE, 1)), "2 power domains.*none of the whole card"),
        ((), "0 power domains"),
    ],
)
def test_a_card_whose_whole_is_not_known_is_not_counted(tmp_path: Path, domains: Domains, shown: str) -> None:
    with pytest.raises(CounterError, match=shown):
        Sysman(build_loader(tmp_path, domains=domains))


def test_stages_say_which_domain_was_measured(tmp_path: Path) -> None:
    """Through the subprocess, as a run reads it."""
    loader = build_loader(tmp_path, domains=I915_TWO_TILES, cards=2)
    found = find_counters("xpu", {"xpu": {"sysman": lambda: find_sysman(loader)}}, {})
    with measured_stage(tmp_path / "stages.json", "poll", found):
        time.sleep(2.5)
    (stage,) = read_stages(tmp_path / "stages.json")
    assert stage["energy"]["source"] == "sysman"
    assert sorted(stage["energy"]["by_counter"]) == ["sysman gpu0 (package)", "sysman gpu1 (package)"]
    assert stage["energy"]["energy_j"] > 0


@pytest.mark.parametrize(
    ("init", "cards", "said"), [(0x78000001, 1, "zesInit answers 0x78000001"), (0, 0, "Level Zero sees no card")]
)
def test_sysman_says_why_it_counts_nothing(tmp_path: Path, init: int, cards: int, said: str) -> None:
    assert said in find_sysman(build_loader(tmp_path, init=init, cards=cards)).why
