"""Is a single vector scaled to the bit as many are?"""

from __future__ import annotations

import numpy as np
import pytest

from indexer.vectors import normalise, normalise_one


@pytest.mark.parametrize("dimension", [1, 2, 7, 8, 63, 384, 1024, 3072])
@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1.0, 1e150])
def test_one_vector_is_scaled_as_in_a_crowd(dimension: int, scale: float) -> None:
    vectors = np.random.default_rng(dimension).standard_normal((30, dimension)) * scale
    for vector, row in zip(vectors, normalise(vectors), strict=True):
        one = normalise_one(vector.tolist())
        assert (one.shape, one.dtype) == ((1, dimension), np.float32)
        assert one.tobytes() == row.tobytes()
        assert np.linalg.norm(one) == pytest.approx(1)


@pytest.mark.parametrize("vector", [[0.0, 0.0], [1.0, float("nan")], [float("inf"), 1.0], [1e200, 1e200], [1e-200]])
def test_what_has_no_direction_is_refused_alone_and_among_others(vector: list[float]) -> None:
    for scaled in (normalise_one, lambda one: normalise([one])):
        with pytest.raises(ValueError, match="no direction"):
            scaled(vector)
