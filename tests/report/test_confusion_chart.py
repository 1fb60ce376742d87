"""The confusion chart can be opened however many labels there are."""

import numpy as np

from xpoll.report.charts.bars import MOST_CONFUSED, confusion


def test_of_many_labels_those_with_most_errors_are_shown_and_the_others_as_one() -> None:
    labels = [f"label {i}" for i in range(200)]
    counts = np.zeros((200, 201), int)
    np.fill_diagonal(counts[:, :200], 3)
    counts[150, 7] = 5
    counts[20, 200] = 4
    chart = confusion("c", "title", counts.tolist(), labels)
    header, rows = chart.table.header, [list(row) for row in chart.table.rows]
    assert len(rows) == MOST_CONFUSED == len(header) - 2
    assert {"label 150", "label 7", "label 20"} < set(header)
    assert header[-2:] == ["171 others", "abstained"]
    cells = np.array([list(map(int, row[1:])) for row in rows])
    assert cells.sum() == counts.sum()
    assert cells[[row[0] for row in rows].index("label 150"), header.index("label 7") - 1] == 5
    assert cells[-1, -2] == 3 * 171
    assert "600 of 609 gold rows" in chart.svg
    assert len(chart.svg) < 300_000


def test_few_labels_are_all_shown() -> None:
    chart = confusion("c", "title", [[2, 1, 0], [0, 3, 1]], ["bad", "good"])
    assert chart.table.rows == [["bad", "2", "1", "0"], ["good", "0", "3", "1"]]
