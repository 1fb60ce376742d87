"""A cascade as a labeller of single texts: the student where it is sure enough, the panel for the rest."""

from collections.abc import Sequence

from xpoll.pipeline.serving.panel import Panel
from xpoll.pipeline.serving.student_process import StudentProcess
from xpoll.pipeline.serving.text_label import TextLabel


class ServedCascade:
    """Labels texts with student and panel.

    Args:
        student: A student of the panel's labels.
        panel: The panel.
        threshold: The student's confidence from which on it answers alone.
    """

    def __init__(self, student: StudentProcess, panel: Panel, threshold: float) -> None:
        self._student, self._panel, self._threshold = student, panel, threshold

    @property
    def labels(self) -> tuple[str, ...]:
        """Of both."""
        return self._student.labels

    @property
    def is_ready(self) -> bool:
        """Whether the student's process is there."""
        return self._student.is_ready

    @property
    def counting(self) -> str | None:
        """How the panel's votes become a label."""
        return self._panel.counting

    async def label_texts(self, texts: Sequence[str]) -> list[TextLabel]:
        """One label per text, in their order; the panel is asked about all texts that the student is unsure of at once.

        Raises:
            RequestError: the student or the panel cannot label a text.
        """
        said = await self._student.label_texts(texts)
        unsure = [number for number, each in enumerate(said) if max(each.distribution or (0,)) < self._threshold]
        opinions = await self._panel.label_texts([texts[number] for number in unsure]) if unsure else []
        for number, opinion in zip(unsure, opinions, strict=True):
            said[number] = opinion._replace(spent=opinion.spent.plus(said[number].spent))
        return said
