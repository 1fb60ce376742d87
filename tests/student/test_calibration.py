"""SciPy's softmax gives what the formula gave that it took the place of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpoll.student.calibration import fitted_temperature, softmax

LOGITS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1e4, 1e4, width=32))


def by_hand(logits: np.ndarray, temperature: float) -> np.ndarray:
    scaled = logits.astype(np.float64) / temperature
    shares = np.exp(scaled - scaled.max(-1, keepdims=True))
    return (shares / shares.sum(-1, keepdims=True)).astype(np.float32)


@settings(deadline=None)
@given(LOGITS, st.floats(0.05, 20))
def test_softmax(logits: np.ndarray, temperature: float) -> None:
    found = softmax(logits, temperature)
    assert found.dtype == np.float32
    assert found == pytest.approx(by_hand(logits, temperature), rel=1e-6)
    certain = np.array([[0.0, -np.inf, -np.inf]])
    assert softmax(certain).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_the_temperature_that_the_votes_were_drawn_with_is_found(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(scale=4, size=(500, 3))
    assert fitted_temperature(logits, by_hand(logits, temperature)) == pytest.approx(temperature, rel=0.01)
