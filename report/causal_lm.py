"""The report of a job whose student is a language model: metrics.json and report.html.

Reads config.resolved.json, environment.json, stages.json, examples.parquet, evaluation.json and the student's
training.json. Text of rows and models is hostile and always escaped.
"""

from typing import Literal

from xpoll.core.config.job import ReportConfig
from xpoll.core.files import read_object, write_text
from xpoll.core.results import Result, read_result
from xpoll.core.run_folder import RunFolder
from xpoll.energy.stages import read_stages
from xpoll.report.charts.lines import Line, lines
from xpoll.report.cost import cost_of
from xpoll.report.energy import energy_of
from xpoll.report.metrics import CostFigures, EnergyFigures
from xpoll.report.page import templates
from xpoll.report.synthesis import synthesis_section
from xpoll.student.causal_lm.folder import read_causal_training
from xpoll.student.causal_lm.record import CausalEvaluation, CausalTraining, Change
from xpoll.student.causal_lm.wording import WHAT_IT_IS, change_sentence, perplexity_text, seeds_text


class CausalMetrics(Result):
    """metrics.json of a job whose student is a language model."""

    schema_version: int = 1
    kind: Literal["causal-lm"] = "causal-lm"
    change: Change
    training: CausalTraining
    evaluation: CausalEvaluation | None
    """None where `xpoll evaluate` has not run."""
    energy: EnergyFigures
    cost: CostFigures


def collect_causal_metrics(folder: RunFolder, config: ReportConfig) -> CausalMetrics:
    """The figures of a run.

    Raises:
        RunFolderError: a file is of another version.
        ConfigError: `report.region` is not known.
    """
    evaluation = read_causal_evaluation(folder)
    energy = energy_of(read_stages(folder.stages), answers=0, decided=0, right=None, config=config)
    return CausalMetrics(
        change=evaluation.change if evaluation else "not measured",
        training=read_causal_training(folder.student),
        evaluation=evaluation,
        energy=energy,
        cost=cost_of(energy, config, engine_s=0.0, documents=0),
    )


def read_causal_evaluation(folder: RunFolder) -> CausalEvaluation | None:
    """The run's evaluation; None where `xpoll evaluate` has not run.

    Raises:
        RunFolderError: the file is of another version.
    """
    return read_result(folder.evaluation, CausalEvaluation, step="evaluate") if folder.evaluation.exists() else None


def read_causal_metrics(folder: RunFolder) -> CausalMetrics:
    """The run's metrics.

    Raises:
        RunFolderError: the report step has not run, or the file is of another version.
    """
    return read_result(folder.metrics, CausalMetrics, step="report")


def write_causal_report(folder: RunFolder) -> None:
    """Writes the page of a run.

    Raises:
        RunFolderError: an input is missing or of another version, or the page cannot be written.
    """
    metrics = read_causal_metrics(folder)
    environment = templates()
    environment.globals |= {"change_sentence": change_sentence, "seeds_text": seeds_text, "WHAT_IT_IS": WHAT_IT_IS}
    environment.filters["perplexity"] = perplexity_text
    page = environment.get_template("causal_lm.html.jinja").render(
        config=read_object(folder.config),
        environment=read_object(folder.require(folder.environment, step="train"), "commit"),
        metrics=metrics,
        training=metrics.training,
        evaluation=metrics.evaluation,
        charts=_charts(metrics),
        synthesis=synthesis_section(folder),
    )
    write_text(folder.report, page)


def _charts(metrics: CausalMetrics) -> dict[str, object]:
    points = [(float(each.step), each.loss) for each in metrics.training.losses if each.loss > 0]
    drawn: dict[str, object] = {}
    if len(points) > 1:
        line = Line("loss of the rows trained on", points)
        drawn["loss"] = lines("loss", "Loss while training", [line], x_name="step", y_name="nats per learned token")
    return drawn
