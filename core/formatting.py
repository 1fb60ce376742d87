"""Figures as text: the one way in which terminal, report page, Markdown and model card write them."""

import math
from typing import Any

NOT_MEASURED = "not measured"


def percent(share: float | None, *, digits: int = 1, none: str = NOT_MEASURED) -> str:
    """A share of 0 to 1 in percent, e.g. "83.3 %"; `none` where there is no figure."""
    return none if share is None else f"{100 * share:.{digits}f} %"


def interval(low: float, high: float) -> str:
    """Two shares of 0 to 1 as an interval in percent, e.g. "75.7 to 88.9 %"."""
    return f"{100 * low:.1f} to {percent(high)}"


def share_with_interval(share: float | None, ends: tuple[float, float] | None, *, none: str = NOT_MEASURED) -> str:
    """A share and its interval in percent, e.g. "83.3 % (75.7 to 88.9)"; `none` where there is no figure."""
    if share is None:
        return none
    return percent(share) if ends is None else f"{percent(share)} ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"


def points(difference: float | None, *, signed: bool = False, none: str = NOT_MEASURED) -> str:
    """A difference of two shares in percentage points, e.g. "2.5 points", or with its sign "+2.5 points"."""
    if difference is None:
        return none
    return f"{100 * difference:{'+' if signed else ''}.1f} points"


def p_value(p: float) -> str:
    """The p-value of a test, e.g. "p = 0.61"; below a thousandth "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2f}"


def noise(within_noise: bool) -> str:
    """What a test allows to say of a difference: "within noise" or "more than noise"."""
    return "within noise" if within_noise else "more than noise"


def number(value: float | None, *, none: str = NOT_MEASURED) -> str:
    """Counts in full, other figures with three or four digits, e.g. "1,440" and "0.00208"; `none` for None."""
    if value is None:
        return none
    if not math.isfinite(value):
        return str(value)
    if value == int(value):
        return f"{int(value):,}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def figure(value: Any) -> str:
    """A value of a record: a number as `number` writes it, anything else as it is."""
    is_number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    return number(value) if is_number else str(value)


def with_unit(value: float | None, unit: str, *, none: str = NOT_MEASURED) -> str:
    """A figure and its unit, e.g. "21,475 J"; `none` where there is no figure."""
    return none if value is None else f"{number(value)} {unit}"


def counted(count: int, one: str, several: str | None = None) -> str:
    """A count and its noun, e.g. "1 gold row" and "120 gold rows"."""
    return f"{number(count)} {one if count == 1 else several or f'{one}s'}"


def duration(seconds: float | None, *, none: str = NOT_MEASURED) -> str:
    """Seconds, and from two minutes on also hours and minutes, e.g. "187 s (about 3 min)"."""
    if seconds is None or seconds < 120:
        return with_unit(seconds, "s", none=none)
    minutes = round(seconds / 60)
    spoken = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f"{number(round(seconds))} s (about {spoken})"


def as_line(text: Any) -> str:
    """Text of a user's in one line of Markdown, in backticks or not: it ends no structure and begins no HTML."""
    return " ".join(str(text).replace("`", "'").replace("<", "&lt;").split())
