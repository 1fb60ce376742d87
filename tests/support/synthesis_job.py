"""A job that writes its own texts, by the backend of tests/support/writing.py."""

from pathlib import Path


def write_synthesis_job(folder: Path, *, count: int = 40, more: str = "", task: bool = True) -> Path:
    """Writes job.toml, whose run folder is `run` beside it, and gold.csv; returns the job.

    Args:
        folder: Where it stands.
        count: `synthesis.count`.
        more: Further lines of [synthesis].
        task: Whether it has labels and gold texts.
    """
    gold = "".join(f"lovely thanks brilliant {i},praise\nbroken awful refund {i},complaint\n" for i in range(10))
    (folder / "gold.csv").write_text(f"text,label\n{gold}")
    labels = f'[documents]\ngold_path = "{folder / "gold.csv"}"\n[task]\nlabels = ["praise", "complaint"]\n'
    job = folder / "job.toml"
    job.write_text(
        f"""
[job]
run_folder = "{folder / "run"}"
[synthesis]
count = {count}
{more}
{labels if task else ""}
[engine]
backend = "tests.support.writing:WritingBackend"
device = "cpu"
rows_per_part = 16
"""
    )
    return job
