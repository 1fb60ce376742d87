"""A recipe is one validated TOML file, found by its name."""

from pathlib import Path

import pytest

from tests.support.toy import LABELS, documents, settings
from xpoll.core.config.file import load_config
from xpoll.core.errors import ConfigError
from xpoll.pipeline.prepare import prepare
from xpoll.student import recipe as module
from xpoll.student.recipe import Ensemble, Prune, Recipe, load_recipe, recipe_names
from xpoll.student.train import train_student


def test_recipes_that_come_with_xpoll_are_what_was_measured() -> None:
    assert recipe_names() == ["ensemble", "plain", "robust"]
    assert all(load_recipe(name).about for name in recipe_names())
    plain, robust, ensemble = (
        load_recipe(name).model_copy(update={"about": ""}) for name in ("plain", "robust", "ensemble")
    )
    assert plain == Recipe()
    assert robust == Recipe(dropout=0, prune=Prune(folds=3, judges=1))
    assert isinstance(ensemble.ensemble, Ensemble) and ensemble.prune == Prune(folds=5, judges=3)
    assert (ensemble.contrast, ensemble.mixup, ensemble.linear_probe) == (0.3, 0.5, True)
    base = settings(Path("encoder"), learning_rate=1e-4, epochs=3, frozen=3)
    members = [ensemble.of_member(member, base) for member in ensemble.ensemble.members]
    trained = [(how.dropout, config.frozen, config.learning_rate, config.epochs) for how, config in members]
    assert trained == [(0, 3, 1e-4, 3), (0.1, 1, 1e-4, 3), (0, 1, 5e-5, 4), (0, 3, 1e-4, 3)]


def test_a_recipe_is_added_by_one_file(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "mine.toml").write_text('about = "Pruned in halves."\ndropout = 0.2\n[prune]\nfolds = 2\n')
    monkeypatch.setattr(module, "RECIPES", recipes)
    assert recipe_names() == ["mine"]
    for name in ("mine", str(recipes / "mine.toml")):
        config = settings(encoder, epochs=1, recipe=name)
        training = train_student(documents(24), LABELS, config=config, seed=0, output=tmp_path / "student")
        assert training.recipe == name
        assert load_recipe(name) == Recipe(about="Pruned in halves.", dropout=0.2, prune=Prune(folds=2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("contrst = 0.3", "has the unknown key contrst -> did you mean contrast?"),
        ("[prune]\nfold = 3", "has the unknown key prune.fold -> did you mean prune.folds?"),
        ("learning_rate = 0.1", "has the unknown key learning_rate"),
        ("contrast = -1", "mine.toml: contrast: Input should be greater than or equal to 0, got -1 -> edit "),
        ("[ensemble]\nmembers = [{}]", "ensemble.members: List should have at least 2 items"),
        ("contrast =", "cannot be read as TOML"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_recipe(str(tmp_path / "mine.toml"))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_recipe_is_refused_before_any_training(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe 'robst' -> name a TOML file or one of: ensemble, plain, robust"):
        train_student(
            documents(30), LABELS, config=settings(encoder, recipe="robst"), seed=0, output=tmp_path / "student"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("student.recipe=robst", "there is no recipe 'robst'"),
        ("student.trainer={seed = 1}", "student.trainer.seed cannot be set"),
    ],
)
def test_a_run_refuses_what_training_would_before_it_polls(
    tmp_path: Path, encoder: Path, override: str, said: str
) -> None:
    (tmp_path / "texts.csv").write_text("text\nup\ndown\n")
    job = tmp_path / "job.toml"
    job.write_text(
        f"[documents]\npath = '{tmp_path / 'texts.csv'}'\n[task]\nlabels = ['a', 'b']\n"
        f"[engine]\nbackend = 'simulated'\n[student]\nencoder = '{encoder}'\n"
    )
    with pytest.raises(ConfigError, match=said):
        prepare(load_config(job, [override, f"job.run_folder={tmp_path / 'run'}"]))
    assert not (tmp_path / "run").exists()
