"""Finds the files that a folder or a pattern stands for.

texts-*.csv              every file of this pattern, in the order of their names
saved/                   what `datasets.Dataset.save_to_disk` wrote: state.json names its Arrow files
saved/train              one split of what `datasets.DatasetDict.save_to_disk` wrote
repository/              Parquet files as in hub repositories, if they are of one split
repository/data/train-*.parquet   one split of them

The package `datasets` is not used: it ends at the first text that is not UTF-8 and the first CSV row with a cell too
many where here they are one bad row each, copies Parquet files into a cache and remote folders onto a local disk before
it reads them, and loads pandas and multiprocess (datasets 5.2.0, tried).
"""

import re
from pathlib import PurePosixPath
from typing import Any

from pyarrow import fs

from xpoll.core.errors import InputError
from xpoll.core.files import json_value

_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}")
_SPLIT_WORDS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval")


def files_at(filesystem: fs.FileSystem, path: str, *, key: str, shown: str) -> list[str]:
    """The files that `path` stands for, in order; the path itself if it is a file.

    Args:
        filesystem: That of the path.
        path: File, folder, or a path whose last part has a `*`.
        key: Config key or argument that named the path, for errors.
        shown: The path as the user wrote it, for errors.

    Raises:
        InputError: the path does not exist, or a folder holds several splits or nothing that can be read.
    """
    kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.NotFound and "*" in PurePosixPath(path).name:
        return _matching(filesystem, path, key=key, shown=shown)
    if kind == fs.FileType.NotFound:
        raise InputError(f"{key}: {shown} does not exist", mend=f"set {key} to a file that does")
    if kind != fs.FileType.Directory:
        return [path]
    folder = path.rstrip("/")
    if _is_file(filesystem, f"{folder}/state.json"):
        return _saved(filesystem, folder, key=key, shown=shown)
    if _is_file(filesystem, f"{folder}/dataset_dict.json"):
        splits = _listed(_json(filesystem, f"{folder}/dataset_dict.json", shown), "splits")
        named = ", ".join(f"{shown.rstrip('/')}/{split}" for split in splits)
        raise InputError(f"{key}: {shown} holds the splits {', '.join(map(str, splits))}", mend=f"name one: {named}")
    return _parquet_files(filesystem, folder, key=key, shown=shown)


def _matching(filesystem: fs.FileSystem, path: str, *, key: str, shown: str) -> list[str]:
    folder, _, pattern = path.rpartition("/")
    try:
        found = filesystem.get_file_info(fs.FileSelector(folder or "."))
    except FileNotFoundError:
        found = []
    files = sorted(_joined(folder, info.base_name) for info in found if info.type == fs.FileType.File)
    matching = re.compile(".*".join(map(re.escape, pattern.split("*"))))
    files = [file for file in files if matching.fullmatch(PurePosixPath(file).name)]
    if not files:
        raise InputError(f"{key}: no file matches {shown}", mend=f"set {key} to files that are there")
    return files


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _saved(filesystem: fs.FileSystem, folder: str, *, key: str, shown: str) -> list[str]:
    state = _json(filesystem, f"{folder}/state.json", shown)
    if state.get("_indices_files") or state.get("_indices_data_files"):  # written by datasets before 1.6
        raise InputError(
            f"{key}: {shown} was saved with the order of its rows in a file of its own",
            mend="save it again: load_from_disk(...).flatten_indices().save_to_disk(...)",
        )
    names = [file.get("filename") if isinstance(file, dict) else None for file in _listed(state, "_data_files")]
    if wrong := [name for name in names if not isinstance(name, str) or PurePosixPath(name).name != name]:
        raise InputError(f"{key}: {shown}: state.json names the file {wrong[0]!r}", mend="save the dataset again")
    return [f"{folder}/{name}" for name in names]


def _parquet_files(filesystem: fs.FileSystem, folder: str, *, key: str, shown: str) -> list[str]:
    found = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    files = sorted(info.path for info in found if info.type == fs.FileType.File and info.path.endswith(".parquet"))
    files = [file for file in files if "/." not in _inside(file, folder)]  # downloads leave hidden caches
    if not files:
        raise InputError(
            f"{key}: {shown} is a folder without a saved dataset or Parquet files",
            mend="name a file, a folder that save_to_disk wrote, or a pattern like texts/*.csv",
        )
    patterns = list(dict.fromkeys(_split_pattern(file, folder) for file in files))
    if len(patterns) > 1:
        named = ", ".join(f"{shown.rstrip('/')}/{pattern}" for pattern in patterns)
        raise InputError(f"{key}: {shown} holds {len(patterns)} splits or tables", mend=f"name one: {named}")
    return files


def _split_pattern(file: str, folder: str) -> str:
    """The pattern below `folder` that the files of one split have in common."""
    inside = PurePosixPath(_inside(file, folder).lstrip("/"))
    if shard := _SHARD.fullmatch(inside.stem):
        return str(inside.with_name(f"{shard['split']}-*.parquet"))
    return str(inside) if inside.stem in _SPLIT_WORDS else str(inside.with_name("*.parquet"))


def _inside(file: str, folder: str) -> str:
    return file[file.index(folder) + len(folder) :]


def _is_file(filesystem: fs.FileSystem, path: str) -> bool:
    return bool(filesystem.get_file_info(path).type == fs.FileType.File)


def _listed(noted: dict[str, Any], name: str) -> list[Any]:
    found = noted.get(name)
    return found if isinstance(found, list) else []


def _json(filesystem: fs.FileSystem, path: str, shown: str) -> dict[str, Any]:
    with filesystem.open_input_stream(path) as file:
        value = json_value(file.read())
    if not isinstance(value, dict):
        raise InputError(f"{shown}: {PurePosixPath(path).name} is no JSON object", mend="save the dataset again")
    return value
