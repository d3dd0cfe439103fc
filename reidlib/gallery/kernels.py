"""Numba kernel of the exact search by one vector; called by `search` only.

Own code, since numpy's product of matrix and vector takes twice as long as reading the matrix once, and this as long
(`benchmarks.gallery`).
"""
# mypy: allow-untyped-defs, allow-untyped-calls

from numba import njit

from reidlib.neighbours.search_kernels import dot


@njit(cache=True, nogil=True)
def products(rows, query, start, stop, out):
    """Inner products of rows start..stop with a query."""
    for i in range(start, stop):
        out[i] = dot(rows[i], query)
