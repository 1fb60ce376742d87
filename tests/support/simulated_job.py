"""A job for a simulated engine, as a file that the command line takes."""

from pathlib import Path


def write_simulated_job(folder: Path, *, documents: int, max_in_flight: int, time_scale: float) -> Path:
    """Writes texts.csv and job.toml, whose run folder is `run`; returns the job."""
    (folder / "texts.csv").write_text("text\n" + "".join(f"sentence {i}\n" for i in range(documents)))
    job = folder / "job.toml"
    job.write_text(
        f"""
        [job]
        run_folder = "run"
        [documents]
        path = "texts.csv"
        [task]
        labels = ["good", "bad"]
        [engine]
        backend = "simulated"
        device = "cpu"
        max_in_flight = {max_in_flight}
        [engine.simulated]
        time_scale = {time_scale}
        """
    )
    return job
