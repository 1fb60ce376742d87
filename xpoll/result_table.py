"""A table of results as the API hands it out: Arrow inside, pandas, polars or datasets where one is asked for."""

from collections.abc import Iterator
from html import escape
from typing import Any

import pyarrow as pa

from xpoll.core.errors import InputError

SHOWN_ROWS = 10
SHOWN_CHARACTERS = 120


class ResultTable:
    """Rows of a result, in the order of the input.

    `table["label"]` is a column as a list, `table[0]` a row as a dict; going through the table gives its rows.

    Attributes:
        arrow: The rows as a pyarrow Table.
    """

    def __init__(self, arrow: pa.Table) -> None:
        self.arrow = arrow

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.arrow.column_names)

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame."""
        return self.arrow.to_pandas()

    def to_polars(self) -> Any:
        """The rows as a polars DataFrame.

        Raises:
            InputError: polars is not installed.
        """
        return _package("polars").from_arrow(self.arrow)

    def to_dataset(self) -> Any:
        """The rows as a `datasets.Dataset`.

        Raises:
            InputError: datasets is not installed.
        """
        return _package("datasets").Dataset(self.arrow.replace_schema_metadata(None))

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.arrow.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            if key not in self.arrow.column_names:
                raise KeyError(f"no column {key!r}; there are {', '.join(self.columns)}")
            return self.arrow.column(key).to_pylist()
        if not -len(self) <= key < len(self):
            raise IndexError(f"no row {key}; there are {len(self)}")
        return self.arrow.slice(key % len(self), 1).to_pylist()[0]

    def __repr__(self) -> str:
        return f"ResultTable({len(self)} rows: {', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        """The first rows for a notebook; what the cells hold is escaped."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        rows = self.arrow.slice(0, SHOWN_ROWS).to_pylist()
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(_shown(cell))}</td>' for cell in row.values())}</tr>" for row in rows
        )
        more = f"<p>{len(self)} rows</p>" if len(self) > len(rows) else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.3f}"
    if isinstance(cell, list):
        return ", ".join(map(_shown, cell))
    text = str(cell)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name} is not installed", mend=f"pip install {name}, or take .arrow") from error
