"""A TOML file and overrides to a checked config; every mistake is one line that says what to type instead."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from xpoll.core.config.job import Config, EngineConfig, PanelConfig, Root, Section, TeacherConfig
from xpoll.core.errors import ConfigError
from xpoll.core.files import read_json, toml_tables

RootT = TypeVar("RootT", bound=Root)
SectionT = TypeVar("SectionT", bound=Section)

_IN_RECIPES = 'a recipe decides it: student.recipe = "robust", "ensemble" or the path of a recipe\'s TOML file'
_NO_GAIN = 'it gained nothing and was removed; student.recipe = "robust" leaves out wrong votes'
REMOVED_KEYS: dict[str, str] = {
    "student.refine": 'student.recipe = "robust" leaves out votes that students of other texts contradict',
    **dict.fromkeys(
        [f"student.{name}" for name in ("folds", "judges", "ensemble", "members", "variants")], _IN_RECIPES
    ),
    **dict.fromkeys([f"student.{name}" for name in ("dropout", "linear_probe", "contrast", "mixup")], _IN_RECIPES),
    **dict.fromkeys(
        [f"student.{name}" for name in ("average", "self_training", "trust", "abstained_weight")], _NO_GAIN
    ),
    "student.accumulation": "set gradient_accumulation_steps in [student.trainer]",
    "student.deterministic": "set full_determinism = true in [student.trainer]",
    "student.tensorboard": 'set report_to = "tensorboard" in [student.trainer]',
    "student.patience": "training stops after two passes without a better held-out loss; held_out=0 never stops",
    "vote.stop": "panel.stop took its place, because the poll reads it",
}
"""Dotted key that was there once to what took its place; the error of an unknown key says it."""


OVERRIDDEN: dict[str, type[Section]] = {"engine": EngineConfig, "panel": PanelConfig}
"""Sections of which a teacher says what differs."""


def load_config(path: Path, overrides: list[str] | None = None, *, sections: Mapping[str, Any] | None = None) -> Config:
    """The config of a job TOML, or of an existing run folder, with overrides applied.

    Args:
        path: The file, or the folder.
        overrides: As behind --set.
        sections: Keys by section that take the place of the file's.

    The outputs of a run folder are in that folder, wherever it was moved or copied to since it was made.

    Raises:
        ConfigError: the file is missing or malformed, a key is unknown, or a value breaks a rule.
    """
    raw = _read(path)
    if path.is_dir() and isinstance(raw.get("job"), dict):
        raw["job"]["run_folder"] = str(path)
    for name, keys in (sections or {}).items():
        known = raw.get(name)
        raw[name] = {**known, **keys} if isinstance(known, dict) and isinstance(keys, dict) else keys
    apply_overrides(raw, overrides or [])
    if not path.is_dir():
        settle_place(raw, name=path.stem)
    return checked_config(Config, raw, mend=f"edit {path} or use --set")


def settle_place(raw: dict[str, Any], *, name: str) -> None:
    """Names a job, and its run folder, where it names none itself."""
    job = raw.setdefault("job", {})
    if isinstance(job, dict):
        job.setdefault("name", name)
        job["run_folder"] = job.get("run_folder") or f"runs/{job['name']}"


def checked_config(root: type[RootT], raw: dict[str, Any], *, mend: str) -> RootT:
    """A whole config from plain values.

    Raises:
        ConfigError: a key is unknown, or a value breaks a rule; `mend` says where to change it.
    """
    _check_keys(raw, root, "")
    try:
        return root.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_explain(error), mend=mend) from error


def checked_section(section: type[SectionT], values: dict[str, Any], name: str) -> SectionT:
    """The options of a part that has a table of its own, e.g. a backend's.

    Raises:
        ConfigError: a key is unknown, or a value breaks a rule.
    """
    _check_keys(values, section, f"{name}.")
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}.{_explain(error)}", mend=f"edit [{name}] or use --set") from error


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        resolved = path / "config.resolved.json"
        if not resolved.exists():
            raise ConfigError(f"{path} is a folder without {resolved.name}", mend="name a job TOML or a run folder")
        held = read_json(resolved)
        if not isinstance(held, dict):
            raise ConfigError(f"{resolved} holds no job", mend="restore it from a copy, or name the job TOML")
        return held
    try:
        return toml_tables(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", mend="name a job TOML or a run folder") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        mend = "correct the file" if path.suffix == ".toml" else f"write a job that names it: xpoll init {path}"
        raise ConfigError(f"{path} cannot be read as TOML: {error}", mend=mend) from error


def apply_overrides(raw: dict[str, Any], overrides: list[str]) -> None:
    """Sets keys of nested tables from "section.key=value", left to right; a value is TOML, or a bare word.

    Raises:
        ConfigError: one is not of that form, or its key lies in something that is no table.
    """
    for override in overrides:
        _apply(raw, override)


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or "." not in key:
        raise ConfigError(f"--set {override!r} is not of the form section.key=value", mend="--set panel.samples=3")
    try:
        value = toml_tables(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word needs no quotes on the command line
    *parents, last = key.strip().split(".")
    table = raw
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override!r}: {parent} is no section")
    table[last] = value


def _check_keys(raw: dict[str, Any], model: type[BaseModel], prefix: str) -> None:
    """Unknown keys fail with the nearest known one; pydantic would only say that they are extra."""
    for key, value in raw.items():
        if key not in model.model_fields:
            if model.model_config.get("extra") == "allow" and isinstance(value, dict):
                continue  # a table that somebody else knows, e.g. the options of a backend
            known = [f"{prefix}{name}" for name in model.model_fields]
            mend = REMOVED_KEYS.get(f"{prefix}{key}") or nearest(f"{prefix}{key}", known, _all_keys())
            if model is TeacherConfig:
                of = [name for name, section in OVERRIDDEN.items() if key in section.model_fields]
                mend = f"put {key} into [teachers.{of[0]}]" if of else mend
            raise ConfigError(f"unknown config key {prefix}{key}", mend=mend)
        section = model.model_fields[key].annotation
        if isinstance(value, list) and (rows := [each for each in get_args(section) if _is_section(each)]):
            for row in value:
                if isinstance(row, dict):
                    _check_keys(row, rows[0], f"{prefix}{key}.")
        if isinstance(section, type) and issubclass(section, Section) and isinstance(value, dict):
            _check_keys(value, section, f"{prefix}{key}.")


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def nearest(key: str, known: list[str], elsewhere: list[str] | None = None) -> str:
    """What to type instead of an unknown key: the known one that is spelled most like it, or all of them."""
    near = difflib.get_close_matches(key, known + (elsewhere or []), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"


def _all_keys() -> list[str]:
    return [
        f"{name}.{key}"
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        for key in field.annotation.model_fields
    ]


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key} is missing"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]}, got {first['input']!r}"
