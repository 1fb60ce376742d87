"""A run folder as an object: labels, votes, figures and the report, each made by the step that makes it."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.formatting import counted
from xpoll.core.run_folder import RunFolder
from xpoll.result_table import ResultTable
from xpoll.surroundings import as_library

if TYPE_CHECKING:
    from xpoll.report.metrics import Metrics
    from xpoll.student.evaluation import Evaluation
    from xpoll.students import Student

INLINE_HEIGHT_PX = 640


class Run:
    """What came of a job. A folder that was made by the command line is one, too.

    Args:
        folder: The run folder.

    Raises:
        ConfigError: it is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self._config = load_config(Path(folder).expanduser().absolute())
        self._folder = RunFolder(Path(self._config.job.run_folder))

    @property
    def folder(self) -> Path:
        """Where everything of the run lies."""
        return self._folder.path

    @property
    def config(self) -> Config:
        """The job that the folder holds."""
        return self._config

    @property
    def labels(self) -> ResultTable:
        """One row per text of the input, in its order, with those that have no label; `abstained` says why.

        The columns are those of labels.parquet, and `problem`, what is wrong with a text that could not be asked about.
        """
        return self._labels_of("train")

    @property
    def gold_labels(self) -> ResultTable:
        """As `labels`, of the gold rows, with `gold_label` or `gold_labels`."""
        return self._labels_of("gold")

    @property
    def votes(self) -> ResultTable:
        """One row per answer, gold rows included: persona, label, and how sure the engine was."""
        return ResultTable(_read(self._folder, self._folder.votes, step="vote"))

    @property
    def report(self) -> "Report":
        """The report, which a notebook shows inline.

        Raises:
            ConfigError: texts of the job's kind of task do not get one label each, which the report needs.
        """
        self._reported()
        return Report(self._folder.report)

    @property
    def metrics(self) -> "Metrics":
        """All figures of the report."""
        from xpoll.report.metrics import read_metrics

        self._reported()
        return read_metrics(self._folder)

    @property
    def evaluation(self) -> "Evaluation | None":
        """Scores on the gold rows; None where nothing was measured."""
        from xpoll.student.evaluation import read_evaluation

        self._reported()
        return read_evaluation(self._folder)

    def train(self, *, quiet: bool = False, **keys: Any) -> "Student":
        """Fine-tunes a small classifier on the labels and scores it on the gold rows; one that is there is replaced.

        Args:
            quiet: Whether to show no progress.
            keys: Keys of [student], e.g. encoder="FacebookAI/roberta-base", in place of the job's.

        Raises:
            ConfigError: a key is unknown, or a value breaks a rule.
            InputError: there are too few labels to learn from.
        """
        from xpoll.pipeline.run import one_step

        config = load_config(self.folder, sections={"student": keys}) if keys else self._config
        with as_library(quiet=quiet):
            for step in ("train", "evaluate"):
                one_step(step, config)
        self._config = load_config(self.folder)
        return self.student

    @property
    def student(self) -> "Student":
        """The student of the run.

        Raises:
            RunFolderError: none was trained yet.
        """
        from xpoll.students import Student

        return Student.load(self._folder.require(self._folder.student, step="train"))

    def _labels_of(self, split: str) -> ResultTable:
        import pyarrow.compute as pc

        table = _read(self._folder, self._folder.labels, step="vote")
        problems = _read(self._folder, self._folder.documents, step="poll").select(["document_id", "problem"])
        if problems.column("document_id").equals(table.column("document_id")):  # as it is unless rows joined since
            table = table.append_column("problem", problems.column("problem"))
        table = table.filter(pc.equal(table.column("split"), split))
        unread = ["split", *([] if split == "gold" else ["gold_label", "gold_labels"])]
        return ResultTable(table.drop_columns([name for name in unread if name in table.column_names]))

    def _reported(self) -> None:
        from xpoll.pipeline.run import report_of

        with as_library(quiet=True):
            report_of(self._config)

    def __repr__(self) -> str:
        labels = ", ".join(self._config.task.labels)
        return f"Run({self.folder}: {labels})"

    def _repr_html_(self) -> str:
        """The first labels, for a notebook."""
        if not self._folder.labels.exists():
            return escape(repr(self))
        labels = self.labels
        shown = [name for name in ("document_id", "text", "label", "labels", "confidence") if name in labels.columns]
        decided = len(labels) - labels.arrow.column(shown[2]).null_count
        head = f"<p>{escape(str(self.folder))}: {counted(len(labels), 'text')}, {decided} labelled</p>"
        return head + ResultTable(labels.arrow.select(shown))._repr_html_()


class Report:
    """The page of a run: one file that loads nothing and runs nothing.

    Attributes:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def html(self) -> str:
        """The whole page."""
        return self.path.read_text(encoding="utf-8")

    def markdown(self) -> str:
        """The report as Markdown; report.md in the run folder is written, too."""
        from xpoll.report.markdown import write_markdown

        return write_markdown(RunFolder(self.path.parent)).read_text(encoding="utf-8")

    def __repr__(self) -> str:
        return f"Report({self.path})"

    def _repr_html_(self) -> str:
        """The page in a frame of its own, in which nothing can run."""
        style = f"width:100%;height:{INLINE_HEIGHT_PX}px;border:1px solid #ccc"
        return f'<iframe sandbox="" style="{style}" srcdoc="{escape(self.html, quote=True)}"></iframe>'


def _read(folder: RunFolder, path: Path, *, step: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from xpoll.core.errors import RunFolderError

    try:
        return pq.read_table(folder.require(path, step=step))
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:120]
        raise RunFolderError(f"{path} cannot be read ({why})", mend=f"xpoll {step} {folder.path}") from error
