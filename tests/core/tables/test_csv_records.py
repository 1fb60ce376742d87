"""A quotation mark that is wrong costs its own line, whatever follows it."""

import csv
import io
from operator import length_hint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpoll.core.errors import InputError
from xpoll.core.tables import csv_records as module
from xpoll.core.tables.csv_records import csv_records
from xpoll.core.tables.readers import stream_rows

WRONG = "a quotation mark is not closed, or before its cell ends"


def read(path: Path, content: str) -> list[tuple[object, str | None]]:
    path.write_text(content)
    return [(row.values["text"], row.problem) for row in stream_rows(str(path), key="k.path", needs=("text",))]


@pytest.mark.parametrize("bad", ['2,"27 inch', r'2,"She wrote \"no\" twice"', '2,"late" again'])
@pytest.mark.parametrize("end", ["", '9,"two\nlines, ""quoted"""\n', '9,"19 inch\n'])
def test_a_wrong_quotation_mark_costs_its_own_line(tmp_path: Path, bad: str, end: str) -> None:
    found = read(tmp_path / "a.csv", f"id,text\n1,one\n{bad}\n3,three\n4,four\n{end}")
    assert [text for text, why in found if why is None][:3] == ["one", "three", "four"]
    assert found[1][1] == f"line 3: {WRONG}"
    assert str(found[1][0]).startswith('"'), "what stands in the line is shown as it is"
    assert len(found) == 4 + bool(end)
    if end.endswith('"\n'):
        assert found[-1] == ('two\nlines, "quoted"', None)


def test_a_quotation_mark_that_another_row_closes_by_chance_swallows_nothing(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", 'id,text\n1,one\n2,"27 inch\n3,three\n4,it is 19"\n5,five\n')
    assert [text for text, why in found if why is None] == ["one", "three", 'it is 19"', "five"]
    found = read(tmp_path / "b.csv", 'id,text\n1,one\nb,"27 inch\n3,three\n4,it is 19",\n5,five\n')
    assert ("three", None) in found
    assert ("five", None) in found
    poem = "first, line\n2, second\nthird, line"
    assert read(tmp_path / "c.csv", f'id,text\n1,"{poem}"\n') == [(poem, None)], "a text of several lines is whole"


CELLS = st.text(st.sampled_from('ab ",\n;'), max_size=8).map("a{}z".format)


@given(st.lists(CELLS, min_size=1, max_size=6), st.integers(0, 5), st.data())
def test_the_rows_around_a_wrong_line_are_read_as_without_it(texts: list[str], place: int, data: st.DataObject) -> None:
    place = min(place, len(texts))
    wrong = data.draw(st.sampled_from(['x,"open', 'x,"closed" early', r'x,"\"so\""']))

    def written(cells: list[str]) -> str:
        file = io.StringIO(newline="")
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC).writerows([[7, cell] for cell in cells])
        return file.getvalue()

    def cells(text: str) -> list[list[str]]:
        return [record.cells for record in csv_records(io.StringIO(text, newline="")) if record.problem is None]

    before, after = written(texts[:place]), written(texts[place:])
    assert cells(before + after) == cells(before) + cells(after)
    assert cells(f"{before}{wrong}\r\n{after}") == cells(before) + cells(after)


def test_an_open_quotation_mark_does_not_hold_the_rest_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHARACTERS", 1000)
    lines = iter(['1,"open\n', *["2,row\n"] * 10_000])
    records = csv_records(lines)
    assert next(records).problem == f"line 1: {WRONG}"
    assert length_hint(lines) > 9_800, "few lines were read ahead"
    assert sum(record.problem is None for record in records) == 10_000


def test_lines_are_numbered_as_an_editor_numbers_them() -> None:
    text = 'a,b\n\n1,"two\nlines"\n2,"open\n3,x\n'
    assert [(record.line, record.problem is None) for record in csv_records(io.StringIO(text, newline=""))] == [
        (1, True),
        (3, True),
        (5, False),
        (6, True),
    ]


def test_a_header_that_is_quoted_wrongly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its header cannot be read: line 1: a quotation mark is not closed"):
        read(tmp_path / "a.csv", 'id,"text\n1,x\n')


def test_a_cell_may_be_as_long_as_it_is_whatever_the_process_read_before(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)
    assert read(tmp_path / "a.csv", f"text\n{'x' * 200_000}\n")[0][1] is None
