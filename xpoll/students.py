"""A student as an object: texts in, labels out."""

import shutil
from pathlib import Path
from typing import Any

from xpoll.core.errors import InputError, ModelError
from xpoll.result_table import ResultTable
from xpoll.surroundings import as_library
from xpoll.texts import columns_of, path_of

BATCH_ROWS = 1024


class Student:
    """A small classifier that was trained on voted labels.

    Attributes:
        folder: Its folder, which Transformers' own pipelines load, too.
    """

    def __init__(self, folder: Path, model: Any) -> None:
        """Takes a folder and its model; `Student.load` finds them."""
        self.folder = folder
        self._model = model

    @classmethod
    def load(cls, name: str | Path, *, runtime: str = "pytorch", device: str | None = None) -> "Student":
        """The student of a folder, of a run folder, or of the Hugging Face hub.

        Args:
            name: Student folder, run folder, or name of a repository on the hub.
            runtime: pytorch, onnx, openvino, openvino-int8-weights or openvino-int8; all but the first need an export.
            device: What computes, as the runtime calls it; without it all accelerators, else the CPU.

        Raises:
            ModelError: there is no student of that name.
            ConfigError: the runtime is not installed, or has no such device.
        """
        with as_library(quiet=True):
            from xpoll.student.folder import student_folder

            folder = Path(name).expanduser()
            folder = student_folder(folder) if folder.exists() else _of_hub(str(name))
            from xpoll.student.heads.registry import head_in

            return cls(folder.absolute(), head_in(folder).load(folder, runtime=runtime, device=device))

    @property
    def labels(self) -> list[str]:
        """Names of the labels it knows."""
        return list(self._model.labels)

    def predict(
        self, texts: Any, *, text_column: str = "text", text_pair_column: str | None = None, quiet: bool = True
    ) -> ResultTable:
        """Labels texts.

        Args:
            texts: A list of texts, or a table of pandas, polars, datasets or pyarrow.
            text_column: Column of the table that holds the text.
            text_pair_column: Column of the second text, for a student of pairs.
            quiet: Whether to show no progress.

        Returns:
            One row per text, in their order: text; of one label per text label, confidence and probability_LABEL of
            each label, of a set labels and probability_LABEL, of spans the list of them; and error, which says why a
            row has no answer.

        Raises:
            InputError: it is one string, a path (`xpoll predict` labels files), or a table without the column.
        """
        if path_of(texts) is not None:
            raise InputError(f"{texts} is a file", mend=f"xpoll predict {self.folder} {texts} OUTPUT")
        names = {"text_column": text_column} | ({"text_pair_column": text_pair_column} if text_pair_column else {})
        values = columns_of(texts, names)
        with as_library(quiet=quiet):
            return self._predicted(values["text_column"], values.get("text_pair_column"))

    def _predicted(self, texts: list[Any], pairs: list[Any] | None) -> ResultTable:
        import pyarrow as pa

        from xpoll.core.progress import Progress
        from xpoll.core.tables.readers import Row
        from xpoll.student.inference.outputs import OutputColumn
        from xpoll.student.inference.predict import check_pairs, predicted

        pair = "text_pair" if pairs is not None else None
        check_pairs(self._model, pair)
        asked = [
            Row(number, {"text": text, "text_pair": second})
            for number, (text, second) in enumerate(zip(texts, pairs or [None] * len(texts), strict=True))
        ]
        added: list[list[Any]] = []
        with Progress("predicting", total=len(texts), unit="texts") as progress:
            for start in range(0, len(texts), BATCH_ROWS):
                batch = asked[start : start + BATCH_ROWS]
                added += [row.added() for row in predicted(self._model, batch, "text", pair=pair)]
                progress.add(len(batch))
        made = {"text": pa.array([each if isinstance(each, str) else None for each in texts], pa.string())}
        for column, cells in zip([*self._model.columns, OutputColumn("error")], zip(*added, strict=True), strict=True):
            made[column.name] = pa.array(cells, column.arrow_type)
        return ResultTable(pa.table(made))

    def save(self, folder: str | Path) -> Path:
        """Copies the student to another folder, whole or not at all; returns it.

        Raises:
            RunFolderError: the place cannot be written, or holds something that is no student.
        """
        from xpoll.student.folder import check_place, replacing_folder

        place = Path(folder).expanduser()
        check_place(place)
        with replacing_folder(place) as temporary:
            shutil.copytree(self.folder, temporary, dirs_exist_ok=True)
        return place

    def __repr__(self) -> str:
        return f"Student({self.folder}: {', '.join(self.labels)})"


def _of_hub(name: str) -> Path:
    """A copy of a repository's student in the hub's cache."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"there is no student folder {name}", mend="run.train(), or name a folder or a hub repository")
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "openvino/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub's HTTP client has errors of its own, which differ between its versions
        why = f"the Hugging Face hub does not give it ({type(error).__name__})"
        raise ModelError(
            f"there is no student folder {name}, and {why}", mend="run.train(), or name a folder"
        ) from error
