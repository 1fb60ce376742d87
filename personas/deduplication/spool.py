"""Texts on disk, so that memory holds none but those that are looked at."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

AT_A_TIME = 8192


class Spool:
    """Texts by number, in a file of Arrow batches that is mapped into memory.

    Args:
        path: The file, which `Spool.write` made.
    """

    def __init__(self, path: Path) -> None:
        self._file = pa.memory_map(str(path))
        reader = pa.ipc.open_file(self._file)
        self._batches = [reader.get_batch(i).column(0) for i in range(reader.num_record_batches)]
        self.number = sum(len(batch) for batch in self._batches)

    def __getitem__(self, number: int) -> str:
        """The text of a number, from 0."""
        batch, row = divmod(number, AT_A_TIME)
        return str(self._batches[batch][row])

    def batches(self) -> Iterator[list[str]]:
        """All texts in order, AT_A_TIME of them at a time."""
        for batch in self._batches:
            yield batch.to_pylist()

    def close(self) -> None:
        """Lets go of the file."""
        self._batches = []
        self._file.close()

    @classmethod
    def write(cls, path: Path, texts: Iterable[str]) -> "Spool":
        """Writes texts as they come and opens the file.

        Raises:
            OSError: it cannot be written.
        """
        schema = pa.schema([("text", pa.large_string())])
        with pa.ipc.new_file(str(path), schema) as file:
            some: list[str] = []
            for text in texts:
                some.append(text)
                if len(some) == AT_A_TIME:
                    file.write_batch(pa.record_batch([pa.array(some, pa.large_string())], schema=schema))
                    some = []
            if some:
                file.write_batch(pa.record_batch([pa.array(some, pa.large_string())], schema=schema))
        return cls(path)
