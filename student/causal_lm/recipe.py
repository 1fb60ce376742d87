"""Named ways to fine-tune a language model: settings of PEFT and TRL, one TOML file each.

What [student.lora] and [student.trainer] set wins over the recipe, key by key.
"""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xpoll.core.config.job import Section, StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.files import toml_tables

RECIPES = Path(__file__).parent / "recipes"


class LoraRecipe(Section):
    """A whole recipe."""

    about: str = ""
    """One or two sentences: what it does and what it is for."""
    lora: dict[str, Any] = {}
    """Arguments of peft.LoraConfig."""
    trainer: dict[str, Any] = {}
    """Arguments of trl.SFTConfig."""


def lora_recipe_names() -> list[str]:
    """Names of the recipes that come with xpoll, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def with_recipe(config: StudentConfig) -> StudentConfig:
    """The section with what its recipe sets beneath its own [student.lora] and [student.trainer].

    Raises:
        ConfigError: there is no such recipe, or its file has an unknown key or a wrong value.
    """
    name = config.recipe
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(lora_recipe_names())
        raise ConfigError(
            f"student.recipe: a causal-lm has no recipe {name!r}", mend=f"name a TOML file or one of: {known}"
        )
    try:
        recipe = LoraRecipe.model_validate(toml_tables(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"student.recipe: {path}: {key}: {first['msg']}", mend=f"edit {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"student.recipe: {path} cannot be read as TOML: {error}") from error
    changes = {"lora": recipe.lora | config.lora, "trainer": recipe.trainer | config.trainer}
    return config.model_copy(update=changes)
