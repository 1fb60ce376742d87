"""Named ways to train a student: what is done beside fine-tuning on the votes, one TOML file each.

The [student] section says on what, how long and how fast a student is trained; a recipe says what else is done. Its
numbers were measured together (experiments/student_arms), so it is taken whole. Only `frozen` is in both: that of an
ensemble's member wins.
"""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from xpoll.core.config.file import nearest
from xpoll.core.config.job import Section, StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.files import toml_tables

RECIPES = Path(__file__).parent / "recipes"


class Prune(Section):
    """Which votes are left out of training: those that students of other texts are confidently against."""

    folds: Annotated[int, Field(ge=2)] = 3
    """Parts that the voted texts are cut into; each is judged by students of the others."""
    judges: Annotated[int, Field(ge=1)] = 1
    """Students per part, which differ in their seed; their mean judges."""


class Member(Section):
    """How one member of an ensemble differs from the student. Unlike members err differently."""

    frozen: Annotated[int, Field(ge=0)] | None = None
    """In place of `student.frozen`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """In place of the recipe's."""
    learning_rate_factor: Annotated[float, Field(gt=0)] = 1.0
    """Times `student.learning_rate`."""
    more_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Beyond `student.epochs`."""


class Ensemble(Section):
    """Students whose mean answers the student is trained on in place of the votes."""

    members: Annotated[list[Member], Field(min_length=2)]
    variants: Annotated[int, Field(ge=0)] = 0
    """Texts made up from each text (masked words, or its beginning and the end of another), for the members to label
    and the student to learn."""


class Recipe(Section):
    """A whole recipe; without any key it is plain training."""

    about: str = ""
    """One or two sentences: what it does, what it costs, what it gained where it was measured."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of activations dropped while training; without it what the encoder's config says."""
    linear_probe: bool = False
    """Begin with a head that is fitted to what the untrained encoder makes of the texts, not with random weights."""
    contrast: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the supervised contrastive loss of what the head reads."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Half of the loss is of mixtures of two texts, whose shares are drawn from Beta(mixup, mixup). 0 mixes none."""
    prune: Prune | None = None
    ensemble: Ensemble | None = None

    def of_member(self, member: Member, config: StudentConfig) -> "tuple[Recipe, StudentConfig]":
        """What a member of the ensemble is trained by."""
        changes = {
            "frozen": config.frozen if member.frozen is None else member.frozen,
            "learning_rate": config.learning_rate * member.learning_rate_factor,
            "epochs": config.epochs + member.more_epochs,
        }
        dropout = self.dropout if member.dropout is None else member.dropout
        return self.model_copy(update={"dropout": dropout}), config.model_copy(update=changes)


def recipe_names() -> list[str]:
    """Names of the recipes that come with xpoll, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """The recipe of that name, or of that path of a TOML file.

    Raises:
        ConfigError: there is none, or its file has an unknown key or a wrong value.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(recipe_names())
        raise ConfigError(f"student.recipe: there is no recipe {name!r}", mend=f"name a TOML file or one of: {known}")
    try:
        return Recipe.model_validate(toml_tables(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise _refused(path, error) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"student.recipe: {path} cannot be read as TOML: {error}") from error


def _refused(path: Path, error: ValidationError) -> ConfigError:
    """The first mistake in a recipe's file, in one line."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = [*Recipe.model_fields, *(f"prune.{each}" for each in Prune.model_fields)]
        known += [f"ensemble.{each}" for each in Ensemble.model_fields]
        return ConfigError(f"student.recipe: {path} has the unknown key {key}", mend=nearest(key, known))
    return ConfigError(f"student.recipe: {path}: {key}: {first['msg']}, got {first['input']!r}", mend=f"edit {path}")
