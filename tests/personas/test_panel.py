"""The panel of a run is chosen once and stays what it is."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Xpoll
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError, InputError
from xpoll.personas import panel as chosen
from xpoll.personas.panel import choose_panel, find_panel, planned_panel, write_panel

JOB = '[documents]\npath = "t.csv"\n[task]\nlabels = ["good", "bad"]\n'
TRADES = ["cook", "pilot", "judge", "miner", "baker", "nurse", "tailor", "farmer", "sailor", "mason", "clerk", "tutor"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job beside a file of personas of twelve trades, and an encoder that knows a text by its trade alone."""
    lines = [{"persona": f"A {trade} with {years} years behind them."} for trade in TRADES for years in range(20, 60)]
    (tmp_path / "hub.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\nno json\n")
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "t.csv").write_text("text\nRain.\nSun.\nFog.\n")

    def embed(texts: list[str]) -> np.ndarray:
        axes = np.eye(len(TRADES) + 1, dtype=np.float32)
        return np.stack([axes[next((i for i, t in enumerate(TRADES) if t in text), -1)] for text in texts])

    monkeypatch.setattr(chosen, "embed", embed)
    monkeypatch.setattr(chosen, "CANDIDATES", 64)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(*overrides: str) -> Config:
    return load_config(Path("job.toml"), list(overrides))


FILE = "panel.persona_file=hub.jsonl"


@pytest.mark.usefixtures("folder")
def test_the_personas_chosen_differ_from_each_other_and_from_those_named(capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(FILE, "panel.select=3", "panel.personas=['annotator']")
    panel = choose_panel(config.panel, seed=0)
    assert panel.personas[0].persona_id == "annotator"
    assert len({persona.persona.split()[1] for persona in panel.personas[1:]}) == 3
    assert (config.panel.size, config.panel.asked_each, len(panel.personas)) == (4, 4, 4)
    assert panel.diversity == (1.0, 1.0, 0.0)
    assert panel.selection is not None
    assert (panel.selection.read, panel.selection.skipped) == (481, 1)
    assert panel.selection.candidates + panel.selection.near_duplicates == 64
    said = [
        line for line in capsys.readouterr().err.splitlines() if "1 of 481 lines of hub.jsonl hold no persona" in line
    ]
    assert len(said) == 1


def test_a_panel_is_read_back_whatever_became_of_its_file(folder: Path) -> None:
    config = config_of(FILE, "panel.select=3")
    kept = folder / "panel.json"
    panel = find_panel(config.panel, seed=1, kept=kept)
    write_panel(kept, panel)
    (folder / "hub.jsonl").unlink()
    assert find_panel(config.panel, seed=1, kept=kept) == panel
    assert planned_panel(config.panel, seed=1, kept=kept) == panel.personas
    assert json.loads(kept.read_text())["personas"][0]["source"] == "hub.jsonl"
    for other in (config_of(FILE, "panel.select=4").panel, config_of(FILE, "panel.personas=['annotator']").panel):
        with pytest.raises(InputError, match=r"hub\.jsonl does not exist"):
            find_panel(other, seed=1, kept=kept)


@pytest.mark.usefixtures("folder")
def test_a_plan_estimates_with_personas_of_the_file_and_embeds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(chosen, "embed")
    panel = planned_panel(config_of(FILE, "panel.select=5").panel, seed=0, kept=Path("panel.json"))
    assert len(panel) == 5


def test_too_few_personas_that_differ_are_one_line(folder: Path) -> None:
    (folder / "same.jsonl").write_text('{"persona": "a cook"}\n{"persona": "a Cook."}\n{"persona": "a judge"}\n')
    panel = config_of("panel.persona_file=same.jsonl", "panel.select=3").panel
    with pytest.raises(InputError, match=r"2 personas that differ, and panel\.select is 3 -> --set panel\.select=2"):
        find_panel(panel, seed=0, kept=folder / "panel.json")
    assert len(choose_panel(panel.model_copy(update={"select": 2}), seed=0).personas) == 2


@pytest.mark.usefixtures("folder")
def test_a_file_takes_the_place_of_the_default_persona_and_not_of_a_named_one() -> None:
    assert config_of(FILE).panel.personas == []
    assert config_of(FILE, "panel.personas=['auditor']").panel.personas == ["auditor"]
    assert config_of().panel.personas == ["annotator"]
    again = Config.model_validate(config_of(FILE).resolved())
    assert again == config_of(FILE)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["panel.personas=[]"], "personas must name at least one persona where there is no persona_file"),
        (["panel.per_document=2"], "per_document must be at most the panel's size, 1, got 2"),
        ([FILE, "panel.select=0"], "panel.select: input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_panel_that_asks_nobody_is_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config_of(*overrides)
    assert said in str(raised.value)


def test_the_panel_of_a_job_is_listed_with_its_diversity(folder: Path, xpoll: Xpoll) -> None:
    (folder / "few.jsonl").write_text((folder / "hub.jsonl").read_text().splitlines()[0] + '\n{"persona": "A judge"}\n')
    given = ["--set", "panel.persona_file=few.jsonl", "--set", "panel.select=2", "--set", "panel.per_document=1"]
    before = sorted(folder.rglob("*"))
    done = xpoll("panel", "job.toml", *given, "--json", cwd=folder, timeout_s=120)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert {row["persona"] for row in printed["personas"]} == {"a cook with 20 years behind them", "a judge"}
    assert (printed["personas_each"], printed["prompts_each"]) == (1, 1)
    assert 0.1 < printed["diversity"]["mean_distance"] < 1.2
    assert printed["diversity"]["near_duplicate_share"] == 0
    assert sorted(folder.rglob("*")) == before
