"""A draw has the marginals that were asked for, as far as the file can give them."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Xpoll
from xpoll.core.errors import InputError
from xpoll.personas.marginals import allotted, draw_by_marginals, rake

AGE = {"18-39": 0.4, "40-64": 0.4, "65+": 0.2}
REGION = {"north": 0.25, "south": 0.75}


@pytest.fixture
def people(tmp_path: Path) -> str:
    """2,000 personas, most of them young and from the north; some of a region that nobody asks for."""
    draw = random.Random(0)
    rows = [
        {
            "persona": f"a person with the number {i}",
            "age": draw.choices(list(AGE), [7, 2, 1])[0],
            "region": draw.choices(["north", "south", "sea"], [8, 2, 1])[0],
        }
        for i in range(2000)
    ]
    path = tmp_path / "people.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_mix_is_the_wanted_one(people: str) -> None:
    mix = draw_by_marginals(people, {"age": AGE, "region": REGION}, number=100, seed=0)
    assert len(mix.personas) == len({each.persona for each in mix.personas}) == 100
    assert mix.largest_gap <= 0.02, mix.reached
    assert mix.outside > 0 and any("have none of these values" in line for line in mix.lines())
    rows = {json.loads(line)["persona"]: json.loads(line) for line in Path(people).read_text().splitlines()}
    ages = Counter(rows[each.persona]["age"] for each in mix.personas)
    assert {age: n / 100 for age, n in ages.items()} == pytest.approx(mix.reached["age"])


def test_the_order_of_the_rows_plays_no_part_and_the_seed_does(people: str, tmp_path: Path) -> None:
    lines = Path(people).read_text().splitlines()
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(reversed(lines)) + "\n")
    drawn = [
        {each.persona for each in draw_by_marginals(path, {"age": AGE}, number=50, seed=seed).personas}
        for path, seed in ((people, 0), (str(other), 0), (people, 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_the_file_cannot_give_is_said(people: str) -> None:
    mix = draw_by_marginals(people, {"region": {"sea": 1.0}}, number=500, seed=0)
    assert 100 < len(mix.personas) < 300, "all there are"
    mix = draw_by_marginals(people, {"age": {"18-39": 0.5, "0-17": 0.5}}, number=10, seed=0)
    assert mix.reached["age"] == {"18-39": 1.0, "0-17": 0.0} and mix.largest_gap == 0.5
    with pytest.raises(InputError, match="that are wanted"):
        draw_by_marginals(people, {"age": {"0-17": 1.0}}, number=10, seed=0)
    with pytest.raises(InputError, match="no column 'work'"):
        draw_by_marginals(people, {"work": {"baker": 1.0}}, number=10, seed=0)


def test_raking_gives_the_known_answer() -> None:
    cells = [(a, b) for a in "xy" for b in "pq"]
    counts = np.array([40.0, 30.0, 35.0, 50.0])
    shares = rake(cells, counts, [{"x": 0.5, "y": 0.5}, {"p": 0.6, "q": 0.4}])
    assert shares[:2].sum() == pytest.approx(0.5) and shares[[0, 2]].sum() == pytest.approx(0.6)
    odds = counts[0] * counts[3] / (counts[1] * counts[2])
    assert shares[0] * shares[3] / (shares[1] * shares[2]) == pytest.approx(odds), "raking keeps the odds ratio"


def test_allotted_numbers_sum_to_what_is_wanted_and_exceed_nothing() -> None:
    quota = allotted(np.array([0.7, 0.2, 0.1]), np.array([5, 100, 100]), 60)
    assert quota.tolist()[0] == 5 and quota.sum() == 60 and quota[1] > quota[2]
    assert allotted(np.array([0.5, 0.5]), np.array([1, 1]), 60).tolist() == [1, 1]
    assert allotted(np.array([1 / 3, 1 / 3, 1 / 3]), np.array([9, 9, 9]), 4).sum() == 4


def test_the_command_draws_and_reports_the_mix(people: str, tmp_path: Path, xpoll: Xpoll) -> None:
    output = tmp_path / "mix.jsonl"
    wanted = ("--marginal", "age:18-39=0.4,40-64=0.4,65+=0.2", "--marginal", "region:north=0.25,south=0.75")
    done = xpoll("personas", "sample", people, output, "--count", 40, *wanted, "--json")
    found = json.loads(done.stdout)
    assert found["drawn"] == 40 and found["reached"]["age"]["18-39"] == pytest.approx(0.4, abs=0.05)
    assert len(output.read_text().splitlines()) == 40
    assert xpoll("personas", "sample", people, output, "--count", 40).returncode == 0
    for wrong, said in (("age:young", "is not of the form"), ("age:a=0.2", "sum to 1")):
        done = xpoll("personas", "sample", people, output, "--count", 4, "--marginal", wrong)
        assert done.returncode == 2 and said in done.stderr
