"""metrics.json, typed: the stable, versioned summary of a run.

A figure that was not measured is null, never left out and never made up. Figures are numbers and words of closed sets;
report/wording.py makes sentences of them.
"""

from xpoll.core.results import Part, Result, read_result
from xpoll.core.run_folder import RunFolder
from xpoll.student.evaluation import Score, Word
from xpoll.votes.review.sample import NoBound


class PositionFigures(Part):
    """Shares of the votes by the place in which the prompt names the label, and a chi-square test for equal shares."""

    shares: tuple[float, ...]
    largest_gap: float
    p_value: float


class VoteCounts(Part):
    """Votes by what became of them. `position_bias` is None where all prompts name the labels in one order."""

    counted: int
    saved: int
    """Not asked, because the stop rule made them unnecessary."""
    unparsable: int
    """Answers without a label; an error row has no answer and is counted under `errors`."""
    bounded: int = 0
    """Answers whose engine told of its likeliest labels only, so that the others' probabilities are bounds."""
    position_bias: PositionFigures | None = None


class LabelCounts(Part):
    """Documents with a label and without one."""

    decided: int
    abstained: int


class ReviewFigures(Part):
    """What people checked, and how accurate the labels are at least, with 95 % confidence.

    `voted_at_least` is of the labels as voted, `at_least` of the labels with the corrections. Both are None where
    `no_bound_because` says why. Documents of the sample that nobody answered count as wrong.
    """

    documents: int
    sampled: int
    answered: int
    corrected: int
    estimate: float | None
    voted_at_least: float | None
    at_least: float | None
    no_bound_because: NoBound | None


class EngineFigures(Part):
    """What answered, and how fast. Rates are over the time in which the engines are up; starts are counted apart.

    Latency is from being handed to the engine to the whole answer, the wait in the engine's queue included.
    """

    backend: str
    model: str
    device: str
    device_name: str | None = None
    replicas: int | None = None
    starts: int | None = None
    wall_s: float | None = None
    startup_s: float | None = None
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    cached_share: float | None = None
    predicted_cached_share: float | None = None
    uncached_tokens_per_label: float | None = None
    """Prompt tokens that the engine computed, per text: what a label costs where nothing is generated."""
    predicted_uncached_tokens_per_label: float | None = None
    prompt_order: str | None = None
    output_tokens: int | None = None
    output_tokens_per_s: float | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    latency_p99_s: float | None = None
    documents_per_s: float | None = None


class EnergyEstimate(Part):
    """No measurement: `power_w` (report.estimate_energy_tdp_w) for the whole wall time."""

    energy_j: float
    power_w: float


class EnergyFigures(Part):
    """Joules of the run, by step and per answer and label; null where a step was not measured.

    `why` has what the counters said of each step that they could not measure. Energy per label is that of poll and
    vote for each document with a label; how many labels are correct is known from the gold rows.
    """

    source: str
    energy_j: float | None
    idle_w: float | None
    idle_spread: float | None = None
    stages: dict[str, float | None]
    wall_s: dict[str, float]
    why: dict[str, tuple[str, ...]]
    per_answer_j: float | None = None
    per_label_j: float | None = None
    per_correct_label_j: float | None = None
    estimate: EnergyEstimate | None = None


class StageCost(Part):
    """Dollars and CO2 of one step."""

    usd: float | None
    co2_kg: float | None


class GridMix(Part):
    """Where a carbon intensity is from: country, year of the mean, source of the table."""

    country: str
    year: int
    source: str


class Assumptions(Part):
    """What a cost depends on; null where it is not used.

    `carbon_of` is None where report.carbon_g_per_kwh gives the intensity. `estimated_power_w` is the power taken where
    energy was not measured.
    """

    hours: float
    stages: tuple[str, ...]
    usd_per_hour: float | None = None
    usd_per_kwh: float | None = None
    carbon_g_per_kwh: float | None = None
    carbon_of: GridMix | None = None
    energy_known: bool = False
    estimated_power_w: float | None = None
    student_texts_per_s: float | None = None


class CostFigures(Part):
    """What the run cost, what a million texts cost by teacher and by student, and when the student pays off."""

    usd: float | None
    co2_kg: float | None
    by_stage: dict[str, StageCost]
    teacher_usd_per_million: float | None = None
    teacher_co2_kg_per_million: float | None = None
    student_usd_per_million: float | None = None
    break_even_texts: int | None = None
    assumptions: Assumptions


class Metrics(Result):
    """metrics.json. Scores are null without gold rows; `verdict` is the word of evaluation.json."""

    schema_version: int = 2
    documents: int
    prompts: int
    completions: int
    errors: dict[str, int]
    """Prompts that ended without an answer, by the kind of error."""
    votes: VoteCounts
    labels: LabelCounts
    review: ReviewFigures | None = None
    engine: EngineFigures
    verdict: Word
    teacher: Score | None = None
    teacher_raw: Score | None = None
    student: Score | None = None
    energy: EnergyFigures
    cost: CostFigures


def read_metrics(folder: RunFolder) -> Metrics:
    """The run's metrics.

    Raises:
        RunFolderError: the report step has not run, or the file is of another version.
    """
    return read_result(folder.metrics, Metrics, step="report")
