"""A small file that unpacks to much is an error row or one line, and takes no memory for it, wherever it is read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import bombs
from tests.support.bombs import MIB, Outcome, forms
from xpoll.core.errors import InputError
from xpoll.votes.review.forms import read_answers

SLACK_MIB = 512
"""What a reader may hold whatever the size of its input: the longest line there may be, as JSON makes it."""
EXIT_2 = {
    "a line of spaces.csv.gz": "a line of more than",
    "commas.csv.gz": "a line of more than",
    "a long list.parquet": "which no list has",
    "a long cell.xlsx": "which no sheet does",
    "a row of empty cells.xlsx": "which no sheet does",
    "empty rows.xlsx": "which no sheet does",
    "shared texts.xlsx": "which no sheet does",
    "a far row.xlsx": "has more than 1048576 rows",
}
"""What is no file of the user's, and what of it is said; all others have a row that is an error, or ordinary ones."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """What the command of each place makes of each bomb, in a process whose memory is limited and measured."""
    command = [sys.executable, "-P", bombs.__file__, str(tmp_path_factory.mktemp("bombs"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.engine  # a minute of reading
@pytest.mark.parametrize("place", ["documents", "gold", "personas", "init", "batch"])
def test_a_file_that_unpacks_to_much_is_an_error_row_or_one_line(outcomes: list[Outcome], place: str) -> None:
    found = [each for each in outcomes if each.place == place]
    assert len(found) >= (5 if place == "batch" else 15)
    for each in found:
        assert "Traceback" not in each.said and each.code in (0, 2), each
        assert each.code == 0 or each.said.count("\n") == 1, each
        assert each.peak_mib <= 10 * each.size // MIB + SLACK_MIB, each
        if each.bomb in EXIT_2 and place != "init":  # which looks at the first rows alone
            assert (each.code, EXIT_2[each.bomb] in each.said) == (2, True), each


def test_a_form_of_a_review_that_is_none_is_one_line(tmp_path: Path) -> None:
    for form in forms(tmp_path):
        with pytest.raises(InputError) as raised:
            read_answers(form, {"a"}, ["good", "bad"])
        assert "\n" not in str(raised.value), form.name
