"""What a caller hands over as texts: a path, a list, or a table of pandas, polars, datasets or pyarrow.

None of these packages is imported here; a table is known by the package that its class is of.
"""

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xpoll.core.errors import InputError
from xpoll.core.tables.excel import split_sheet

SHOWN_NAMES = 12


def path_of(texts: Any, *, name: str = "texts") -> str | None:
    """The path, URI or pattern that stands for files; None where the texts themselves are there.

    Args:
        texts: What the caller gave.
        name: Of the argument, for errors.

    Raises:
        InputError: it is a string that names no file.
    """
    if isinstance(texts, Path):
        return str(texts.expanduser().absolute())
    if not isinstance(texts, str):
        return None
    if "://" in texts:
        return texts
    named = Path(texts).expanduser()
    try:
        is_there = Path(split_sheet(str(named))[0]).exists() or bool(glob.glob(str(named)))  # noqa: PTH207  (Path.glob takes no absolute pattern)
    except (OSError, ValueError):  # too long for a path, or with a NUL
        is_there = False
    if is_there:
        return str(named.absolute())
    shown = texts if len(texts) <= 60 else f"{texts[:60]}..."
    raise InputError(f"{name} is one string, {shown!r}, and no file is called so", mend="give a list of texts: [text]")


def columns_of(
    data: Any, wanted: Mapping[str, str], *, name: str = "texts", optional: Mapping[str, str] | None = None
) -> dict[str, list[Any]]:
    """The wanted columns, as lists of plain values in the order of the rows.

    What is no table is the first wanted column; of pairs, e.g. (text, label), each part is one.

    Args:
        data: A table, a mapping of columns, a list of rows, or a list of values.
        wanted: Argument that names a column to the name, e.g. {"text_column": "text"}; the first is the texts'.
        name: Of the argument that is `data`, for errors.
        optional: As `wanted`, of columns that a table may lack.

    Returns:
        The values under the same keys.

    Raises:
        InputError: a column is missing, the columns are not equally long, or there are no texts at all.
    """
    if data is None or isinstance(data, bytes):
        raise InputError(f"{name} is {type(data).__name__}", mend="give a list of texts, a table or a path")
    package = type(data).__module__.partition(".")[0]
    if package == "polars" and hasattr(data, "collect"):
        data = data.collect()
    if package == "datasets" and isinstance(data, Mapping):
        raise InputError(
            f"{name} is a DatasetDict with the splits {', '.join(map(str, data))}", mend="give one of them"
        )
    found = _columns(data, wanted, optional or {}, name, package)
    if not next(iter(found.values())):
        raise InputError(f"{name} holds no text", mend="give at least one")
    lengths = {keyword: len(values) for keyword, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{name}: its columns are not equally long, {lengths}")
    return found


def _columns(
    data: Any, wanted: Mapping[str, str], optional: Mapping[str, str], name: str, package: str
) -> dict[str, list[Any]]:
    names = _names_of(data, package)
    if names is not None:
        return {keyword: _values(data[column]) for keyword, column in _there(names, wanted, optional, name).items()}
    if not isinstance(data, Iterable):
        raise InputError(f"{name} is of type {type(data).__name__}", mend="give a list of texts, a table or a path")
    rows = _values(data)
    if rows and isinstance(rows[0], Mapping):
        maps = [row if isinstance(row, Mapping) else {} for row in rows]
        there = _there(list(dict.fromkeys(key for row in maps for key in row)), wanted, optional, name)
        return {keyword: [row.get(column) for row in maps] for keyword, column in there.items()}
    if len(wanted) == 1:
        return dict.fromkeys(wanted, rows)
    if any(not isinstance(row, list | tuple) or len(row) != len(wanted) for row in rows):
        parts = ", ".join(wanted.values())
        raise InputError(f"{name} must give {parts} of each text", mend=f"a table, or a list of ({parts})")
    return {keyword: [row[i] for row in rows] for i, keyword in enumerate(wanted)}


def _there(names: Sequence[Any], wanted: Mapping[str, str], optional: Mapping[str, str], name: str) -> dict[str, str]:
    """The wanted columns, all of which must be there, and those of the optional ones that are."""
    for keyword, column in wanted.items():
        if column not in names:
            there = ", ".join(map(str, names[:SHOWN_NAMES])) + (", ..." if len(names) > SHOWN_NAMES else "")
            what = f"{name} has no column {column!r}; it has {there or 'none'}"
            raise InputError(what, mend=f"{keyword}={str(names[0]) if names else column!r}")
    return {**wanted, **{keyword: column for keyword, column in optional.items() if column in names}}


def _names_of(data: Any, package: str) -> Sequence[Any] | None:
    """Names of a table's columns; None where it is no table."""
    if isinstance(data, Mapping):
        return list(data)
    if package == "pyarrow" and hasattr(data, "schema"):
        return list(data.schema.names)
    if package == "datasets":
        return list(data.column_names or next(iter(data), {}))
    return list(data.columns) if package in ("pandas", "polars") and hasattr(data, "columns") else None


def _values(column: Any) -> list[Any]:
    for method in ("to_pylist", "to_list", "tolist"):  # pyarrow; pandas and polars; numpy
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def as_text(value: Any) -> str | None:
    """A text that UTF-8 can write; None for what is no text, which becomes a row with a problem."""
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "replace").decode("utf-8")


def as_id(value: Any) -> str | None:
    """An id as a word; None where there is none."""
    return None if value is None or value != value else str(value)
