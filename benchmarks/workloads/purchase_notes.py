"""Notes about purchases with the JSON that says the same: rows for a student that writes, made by rule.

    python -m xpoll.benchmarks.workloads.purchase_notes > examples/purchase_notes/rows.jsonl

Nobody's text is in them. A row is right or wrong without judgement, so that what a student writes can be counted.
"""

import json
import random
import sys
from typing import NamedTuple

ITEMS = (
    "pump",
    "valve",
    "filter",
    "bearing",
    "gasket",
    "sensor",
    "relay",
    "motor",
    "belt",
    "nozzle",
    "fan",
    "clamp",
    "coupling",
    "fuse",
    "switch",
)
SELLERS = (
    "Halden",
    "Brandt",
    "Ostrava Supply",
    "Kemper",
    "Lindqvist",
    "Moreau",
    "Tanaka",
    "Vidal",
    "Norrby",
    "Pirelli",
)
BUYERS = ("Ana", "Jonas", "Mei", "Omar", "Ruth", "Sven", "Tara", "Yusuf")
MONTHS = ("January", "March", "April", "June", "August", "October", "November")
CURRENCIES = {"EUR": "euros", "USD": "dollars", "SEK": "kronor"}
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 8: "eight", 10: "ten", 12: "a dozen"}
FORMS = (
    "{buyer} bought {number} {items} from {seller} at {price} {money} each on {day} {month}.",
    "On {day} {month} {seller} delivered {number} {items}, {price} {money} apiece, ordered by {buyer}.",
    "{number} {items} came in from {seller} ({price} {money} each), {day} {month}, for {buyer}.",
    "{seller}, {day} {month}: {number} {items} for {buyer}, unit price {price} {money}.",
    "We paid {seller} {price} {money} for each of {number} {items} that {buyer} asked for on {day} {month}.",
)
ROWS = 360


class NoteRow(NamedTuple):
    """A note, and the JSON that it is to become."""

    prompt: str
    completion: str


def purchase_notes(count: int = ROWS, *, seed: int = 0) -> list[NoteRow]:
    """`count` rows; their notes differ from each other.

    Args:
        count: How many.
        seed: Of all draws.
    """
    draw = random.Random(f"purchase notes {seed}")
    found: dict[str, NoteRow] = {}
    while len(found) < count:
        row = _row(draw)
        found[row.prompt] = row
    return list(found.values())


def _row(draw: random.Random) -> NoteRow:
    item, seller, currency = draw.choice(ITEMS), draw.choice(SELLERS), draw.choice(list(CURRENCIES))
    number = draw.choice(list(NUMBERS))
    price = f"{draw.randint(2, 90)}.{draw.choice(('00', '25', '50', '75', '90'))}"
    day, month, buyer = draw.randint(1, 28), draw.choice(MONTHS), draw.choice(BUYERS)
    items = f"{item}es" if item.endswith("ch") else f"{item}s"
    note = draw.choice(FORMS).format(
        buyer=buyer,
        number=NUMBERS[number] if draw.random() < 0.5 else number,
        items=items,
        seller=seller,
        price=price,
        money=CURRENCIES[currency] if draw.random() < 0.5 else currency,
        day=day,
        month=month,
    )
    wanted = {"item": item, "number": number, "price": f"{price} {currency}", "seller": seller, "day": f"{day} {month}"}
    return NoteRow(f"As JSON: {note[0].upper()}{note[1:]}", json.dumps(wanted))


def right_fields(written: str, wanted: str) -> int:
    """How many fields of a row's JSON a completion has right; 0 where it is no JSON object."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return 0
    expected = json.loads(wanted)
    return sum(found.get(name) == value for name, value in expected.items()) if isinstance(found, dict) else 0


def main() -> None:
    """Prints the rows as JSON lines."""
    for row in purchase_notes():
        sys.stdout.write(f"{json.dumps(row._asdict())}\n")


if __name__ == "__main__":
    main()
