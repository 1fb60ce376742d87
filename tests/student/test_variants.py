"""Made-up texts are of the words that are there, and an ensemble labels them."""

import random
from pathlib import Path

from tests.support.toy import LABELS, documents, settings
from xpoll.student import ensemble as variants
from xpoll.student.inference.model import StudentModel
from xpoll.student.recipe import Recipe
from xpoll.student.train import train_student

TEXTS = ["one two three four five six seven eight nine ten", "a b c d e f g h i j"]


def test_each_text_has_its_share_of_variants_of_known_words() -> None:
    made = variants.variants_of(TEXTS, times=50, mask="[MASK]", seed=1)
    assert len(made) == 100
    known = {word for text in TEXTS for word in text.split()}
    assert {word for text in made for word in text.split()} == known | {"[MASK]"}
    masked = [text for text in made if "[MASK]" in text]
    assert 30 < len(masked) < 60, "half of them, by chance; now and then none of ten words is hit"
    assert made == variants.variants_of(TEXTS, times=50, mask="[MASK]", seed=1)
    assert made != variants.variants_of(TEXTS, times=50, mask="[MASK]", seed=2)


def test_a_text_that_is_not_written_in_words_is_varied_by_its_characters() -> None:
    made = variants.variants_of(["利润比去年增长了三成"], times=20, mask="[MASK]", seed=0)
    assert any("[MASK]" in text for text in made) and not any(" " in text for text in made)


def test_a_joined_text_begins_with_one_and_ends_with_another() -> None:
    for seed in range(20):
        words = variants._joined(TEXTS[0], TEXTS[1], random.Random(seed)).split()
        first = [word for word in words if word in TEXTS[0].split()]
        second = [word for word in words if word in TEXTS[1].split()]
        assert [*first, *second] == words
        assert first == TEXTS[0].split()[: len(first)] and 3 <= len(first) <= 9
        assert second == TEXTS[1].split()[-len(second) :] and 1 <= len(second) <= 7


def test_without_a_mask_words_are_left_out_and_something_stays() -> None:
    made = variants.variants_of(["up", "down and out again today"], times=40, mask=None, seed=0)
    assert all(made)
    assert {len(text.split()) for text in made[1::2]} > {3, 4}


def test_a_student_of_unlike_members_and_made_up_texts(encoder: Path, tmp_path: Path) -> None:
    members = [{}, {"frozen": 1, "learning_rate_factor": 0.5}, {}]
    config, recipe = settings(encoder, held_out=0.0), {"ensemble": {"members": members, "variants": 2}}
    rows, output = documents(90), tmp_path / "student"
    training = train_student(rows, LABELS, config=config, seed=0, output=output, recipe=Recipe.model_validate(recipe))
    assert (training.members, training.variants, training.rows) == (3, 2, 90)
    found = StudentModel(tmp_path / "student").probabilities([each.text for each in rows]).argmax(1)
    assert (found == [i % 3 for i in range(90)]).mean() > 0.95
