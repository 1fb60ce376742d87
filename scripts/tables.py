"""Tables on stdout: drawn to the width of a terminal where there is one, aligned lines elsewhere, e.g. in a pipe."""

import sys
from collections.abc import Sequence

from xpoll.core.progress import terminal_console
from xpoll.core.secrets import struck


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    """Prints a table whose first column is the name of each row.

    Args:
        heads: Titles of the columns; an empty one has none.
        rows: Cells; a row of two in a wider table is a name and a remark in place of figures.
        widths: Characters of each column in aligned lines; all but the first stand to the right.
    """
    if sys.stdout.isatty():
        _draw(heads, rows)
        return
    for row in [heads, *rows]:
        if len(row) < len(heads):
            print(f"{row[0]:{widths[0]}}{row[1]}")
            continue
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        print(f"{row[0]:{widths[0]}}" + "".join(cells))


def show_list(rows: Sequence[tuple[str, str]]) -> None:
    """Prints names with what is said of each; long sayings are wrapped on a terminal."""
    width = max(len(name) for name, _ in rows)
    if not sys.stdout.isatty():
        for name, text in rows:
            print(f"{name:{width}}  {text}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(struck(name), style="bold"), Text(struck(text)))
    terminal_console(sys.stdout).print(table)


def _draw(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(Text(struck(head)), justify="right" if i else "left", overflow="fold")
    remarks = [row for row in rows if len(row) < len(heads)]
    for row in rows:
        if len(row) == len(heads):
            table.add_row(*(Text(struck(cell)) for cell in row))
    console = terminal_console(sys.stdout)
    console.print(table)
    for name, remark in remarks:
        console.print(Text(struck(f"{name}: {remark}")))
