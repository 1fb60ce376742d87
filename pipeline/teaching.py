"""What the votes of each teacher of a run took: seconds, and dollars where the job has a price."""

from xpoll.core.config.job import Config
from xpoll.core.config.teachers import Teacher, teachers_of
from xpoll.core.files import read_json
from xpoll.engine.backends.registry import spec_of

MILLION = 1_000_000


def took(config: Config) -> dict[str, dict[str, float | None]]:
    """By teacher, seconds per document that its engines were up, starts not counted, and dollars a million documents.

    Dollars need `report.usd_per_hour`. Both are None where no model ran.
    """
    return {str(teacher.name): _took(teacher) for teacher in teachers_of(config)}


def _took(teacher: Teacher) -> dict[str, float | None]:
    folder, spec = teacher.folder, spec_of(teacher.config.engine.backend)
    sessions = read_json(folder.engine)["sessions"] if folder.engine.exists() else []
    documents = read_json(folder.plan)["documents"] if folder.plan.exists() else 0
    wall_s: float = sum(session["wall_s"] for session in sessions)
    if not (spec.runs_model and wall_s and documents):
        return {"s_per_document": None, "usd_per_million": None}
    each_s, hourly = wall_s / documents, teacher.config.report.usd_per_hour if spec.runs_here else None
    return {"s_per_document": each_s, "usd_per_million": None if hourly is None else each_s / 3600 * hourly * MILLION}
