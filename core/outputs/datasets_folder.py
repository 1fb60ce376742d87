"""A folder that `datasets.load_dataset` and the Hugging Face hub take: data/SPLIT-*.parquet, and a data card.

The card's header has the keys of huggingface.co/docs/hub/datasets-cards; `configs` names the files of each split
(huggingface.co/docs/hub/datasets-manual-configuration).
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from xpoll.core.errors import InputError
from xpoll.core.files import replacing, write_text
from xpoll.core.formatting import as_line
from xpoll.core.outputs.output import TextSet, WrittenOutput
from xpoll.core.records import to_table

ROWS_PER_GROUP = 8192
CARD = "README.md"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_TASKS = {"spans": "token-classification", "nothing": "text-generation"}


def write(texts: TextSet, path: Path) -> WrittenOutput:
    """Writes the splits, then the card.

    Raises:
        InputError: the path is a file, or a folder that holds something else.
        RunFolderError: it cannot be written.
    """
    folder, table = path / "data", texts.table
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not folder.is_dir())):
        raise InputError(f"--datasets: {path} is there and holds no data set", mend="name another folder")
    written: dict[str, int] = {}
    for split, rows_of_split in table.splits.items():
        rows, file_path = rows_of_split(), folder / f"{split}-00000-of-00001.parquet"
        first = list(islice(rows, ROWS_PER_GROUP))
        if not first:
            file_path.unlink(missing_ok=True)  # of an earlier export
            continue
        with replacing(file_path) as temporary, pq.ParquetWriter(temporary, table.schema, compression="zstd") as file:
            while first:
                file.write_table(to_table((tuple(row) for row in first), table.schema))
                written[split] = written.get(split, 0) + len(first)
                first = list(islice(rows, ROWS_PER_GROUP))
    total = sum(written.values())
    write_text(path / CARD, "\n".join(_card(texts, written, path.name)) + "\n")
    return WrittenOutput(path, total)


def _card(texts: TextSet, written: dict[str, int], name: str) -> Iterator[str]:
    total = sum(written.values())
    size = next((word for most, word in _SIZES if total < most), "n>1M")
    task = _TASKS.get(texts.holds, "text-classification")
    yield from ("---", f"pretty_name: {json.dumps(name)}", "tags:", *(f"- {tag}" for tag in texts.tags))
    yield from ("task_categories:", f"- {task}", "size_categories:", f"- {size}", "configs:", "- config_name: default")
    yield "  data_files:"
    for split in written:
        yield from (f"  - split: {split}", f"    path: data/{split}-*.parquet")
    yield from ("---", "", f"# {as_line(name)}", "")
    yield from texts.card(total)
    yield from ("", "## Columns", "")
    yield from card_table(("column", "meaning"), list(texts.table.columns.items()))


def card_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown, line by line.

    Args:
        head: Names of its columns.
        rows: Its cells; a line break or a bar in one does not end it.
    """
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |"
