from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.poses import PoseError, rigid_from_matrix, rigid_from_quaternion

finite = st.floats(-1e4, 1e4)


@given(st.tuples(finite, finite, finite), st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_both_forms_say_the_same(t: tuple[float, ...], q: tuple[float, ...]) -> None:
    unit = np.array(q) / np.linalg.norm(q)
    a = rigid_from_quaternion(t, unit.tolist())
    b = rigid_from_matrix(a.ravel().tolist())
    assert np.allclose(a, b, atol=1e-9)
    assert np.allclose(a[:3, :3] @ a[:3, :3].T, np.eye(3))
    assert np.linalg.det(a[:3, :3]) == pytest.approx(1)


def test_a_quarter_turn_about_y_takes_z_to_x() -> None:
    turned = rigid_from_quaternion((1, 2, 3), (np.sqrt(0.5), 0, np.sqrt(0.5), 0))
    assert np.allclose(turned @ [0, 0, 1, 1], [2, 2, 3, 1])


def changed(**cells: float) -> list[float]:
    m = np.eye(4)
    for name, value in cells.items():
        m[int(name[1]), int(name[2])] = value
    return [float(v) for v in m.ravel()]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1.0] * 15, "16 numbers"),
        (changed(m03=float("nan")), "finite"),
        (changed(m00=float("inf")), "finite"),
        (changed(m30=1.0), "transposed"),
        (changed(m00=2.0), "rigid"),
        (changed(m00=-1.0), "rigid"),
        (changed(m01=0.1), "rigid"),
        (changed(m03=1e9), "away"),
        (changed(m00=1e200), "rigid"),
    ],
)
def test_what_is_not_rigid_is_refused(values: list[float], says: str) -> None:
    with pytest.raises(PoseError, match=says):
        rigid_from_matrix(values)


@pytest.mark.parametrize("quat", [(0, 0, 0, 0), (2, 0, 0, 0), (1, 0, 0), (float("nan"), 0, 0, 1)])
def test_what_is_no_unit_quaternion_is_refused(quat: tuple[float, ...]) -> None:
    with pytest.raises(PoseError):
        rigid_from_quaternion((0, 0, 0), quat)


def test_rounding_is_cleaned() -> None:
    noisy = np.eye(4)
    noisy[:3, :3] += 3e-4 * np.arange(9).reshape(3, 3) / 9
    clean = rigid_from_matrix(noisy.ravel().tolist())
    assert np.allclose(clean[:3, :3] @ clean[:3, :3].T, np.eye(3), atol=1e-12)
