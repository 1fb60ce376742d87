"""A mutant differs in one place, and what is no behaviour is left alone."""

import ast

import pytest

from experiments.mutation.mutation import changed_line, mutated, sites

SOURCE = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class A:
    """Says nothing."""
    n: int = 3

def f(a, b: int = 2):
    if a < b and not a:
        raise ValueError(f"{a + 1} is wrong")
    a += 1
    print(a)
    return a * b
'''


def test_every_place_gives_a_program_that_differs_from_the_others() -> None:
    places = sites(ast.parse(SOURCE))
    programs = {ast.unparse(mutated(ast.parse(SOURCE), place)) for place in range(len(places))}
    assert len(programs) == len(places) == 10
    assert ast.unparse(ast.parse(SOURCE)) not in programs
    for program in programs:
        compile(program, "mutant", "exec")


def test_a_mutant_is_named_by_its_line() -> None:
    lines = {changed_line(SOURCE, place) for place in range(len(sites(ast.parse(SOURCE))))}
    assert len(lines) == 10
    assert {"n: int = 4", "if a <= b and (not a):", "without print(a)", "return a + b"} <= lines


@pytest.mark.parametrize("kept", ["frozen=True", "Says nothing.", "a + 1", "n: int", "b: int"])
def test_decorators_annotations_and_messages_stay(kept: str) -> None:
    assert all(kept in ast.unparse(mutated(ast.parse(SOURCE), place)) for place in range(len(sites(ast.parse(SOURCE)))))
