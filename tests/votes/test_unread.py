"""After a vote one line says why answers have no label."""

from xpoll.core.records import SetVote, Vote
from xpoll.votes.unread import unread_line


def votes(**reasons: int) -> list[Vote]:
    found = [Vote("read", "p", 0, "good")]
    for reason, count in reasons.items():
        found += [Vote(f"{reason} {i}", "p", 0, None, reason.replace("__", ": ")) for i in range(count)]
    return found


def test_the_commonest_reason_stands_first_and_has_its_mend() -> None:
    line = unread_line(votes(empty=1, truncated=3))
    assert line is not None
    assert line.startswith("4 of 5 answers have no label: 3 truncated, 1 empty -> panel.max_tokens is too short")


def test_reasons_beyond_the_fourth_are_counted_together() -> None:
    line = unread_line(votes(a=5, b=4, c=3, d=2, e=1, f=1))
    assert line is not None
    assert "2 d, 2 others -> completions/ holds" in line
    assert "errors" in line


def test_nothing_is_said_where_every_answer_has_a_label() -> None:
    assert unread_line(votes()) is None
    assert unread_line([SetVote("0", "p", 0, ())]) is None, "a set may be empty"
