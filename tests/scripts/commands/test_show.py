"""What the command line prints of a run's figures."""

from pathlib import Path

import pytest

from tests.support.example_run import make_run
from xpoll.core.files import read_json, write_json
from xpoll.scripts.commands.status import show_metrics


@pytest.mark.parametrize(
    ("predicted", "measured", "said"),
    [
        (0.8459, 0.8544, "prefix cache: predicted 84.6 %, measured 85.4 % (persona_first)\n"),
        (None, 0.8544, "prefix cache: not predicted, measured 85.4 % (persona_first)\n"),
        (0.8459, None, None),
    ],
)
def test_the_prefix_cache_is_shown_as_predicted_and_measured(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    predicted: float | None,
    measured: float | None,
    said: str | None,
) -> None:
    folder = make_run(tmp_path)
    metrics = read_json(folder.metrics)
    metrics["labels"] = {"decided": 240, "abstained": 0}
    metrics["teacher"] = None
    metrics["engine"] |= {"predicted_cached_share": predicted, "cached_share": measured}
    write_json(folder.metrics, metrics)
    show_metrics(folder, as_json=False)
    shown = capsys.readouterr().out
    if said is None:
        assert "prefix cache" not in shown
    else:
        assert said in shown
