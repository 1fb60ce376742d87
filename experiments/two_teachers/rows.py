"""`python -m experiments.two_teachers.rows DATA FOLDER`: the files that the jobs beside this one poll.

Writes NAME_gold.csv (300 rows of the test file) and NAME_texts.csv (20 of the train file, without labels) of two
data sets, with the columns id, text and label.
"""

import csv
import sys
from pathlib import Path

import numpy as np

FILES = {
    "phrasebank": ("phrasebank/mixtral_{}.csv", "label_experts"),
    "banking77": ("banking77/{}.csv", "category"),
}
GOLD, TEXTS, SEED = 300, 20, 22


def main(data: Path, folder: Path) -> None:
    """Writes the four files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pattern, label) in FILES.items():
        for split, number, kind in (("test", GOLD, "gold"), ("train", TEXTS, "texts")):
            with (data / pattern.format(split)).open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            chosen = np.random.default_rng(SEED).permutation(len(rows))[:number]
            with (folder / f"{name}_{kind}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["id", "text", *(["label"] if kind == "gold" else [])])
                for i in sorted(chosen.tolist()):
                    row = rows[i]
                    named = row.get("document_id") or f"{split}-{i}"
                    writer.writerow([named, row["text"], *([row[label]] if kind == "gold" else [])])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
