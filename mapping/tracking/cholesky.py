"""Small dense systems with a positive matrix: of 3 unknowns as of 240. Only the upper triangle is read."""

from __future__ import annotations

import numpy as np

from mapping.kernels import kernel
from mapping.transforms import F64


@kernel
def cholesky_solve(a: F64, b: F64) -> bool:
    """Solve a x = b in place (x lands in b, a is destroyed) for a symmetric positive (n, n); False when it is not.

    Row by row along memory: sums keep their order and are still many at a time.
    """
    n = len(b)
    for i in range(n):
        row = a[i]
        k = 0
        while k + 4 <= i:  # four rows at once: each element of this row is loaded a quarter as often
            r0, r1, r2, r3 = a[k], a[k + 1], a[k + 2], a[k + 3]
            f0, f1, f2, f3 = r0[i], r1[i], r2[i], r3[i]
            for j in range(i, n):
                row[j] = row[j] - f0 * r0[j] - f1 * r1[j] - f2 * r2[j] - f3 * r3[j]
            k += 4
        while k < i:
            r0, f0 = a[k], a[k, i]
            for j in range(i, n):
                row[j] -= f0 * r0[j]
            k += 1
        if not row[i] > 0.0:
            return False
        root = np.sqrt(row[i])
        row[i] = root
        for j in range(i + 1, n):
            row[j] /= root
    for i in range(n):
        b[i] /= a[i, i]
        for j in range(i + 1, n):
            b[j] -= a[i, j] * b[i]
    for i in range(n - 1, -1, -1):
        s = b[i]
        for k in range(i + 1, n):
            s -= a[i, k] * b[k]
        b[i] = s / a[i, i]
    return True


@kernel
def last_sigma(a: F64) -> float:
    """Standard deviation of the last unknown of a positive system (n, n); infinite when it is not positive."""
    n = len(a)
    factor, probe = a.copy(), np.zeros(n)
    probe[n - 1] = 1.0
    if not cholesky_solve(factor, probe):
        return np.inf
    sigma: float = np.sqrt(max(probe[n - 1], 0.0))
    return sigma
