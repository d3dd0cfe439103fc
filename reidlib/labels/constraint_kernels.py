"""Numba kernels of what is kept apart: lists of a CSR matrix, hung together as clusters merge.

What node r is kept apart from is ``apart[apart_starts[r]:apart_starts[r + 1]]``, nodes too. A cluster's list is the
chain of its nodes' lists (``list_head``, ``list_next``, ``list_tail``; -1 = none), so that a merge costs nothing.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit

from reidlib.labels.kernels import find


@njit(cache=True, nogil=True)
def hang(gone, kept, list_head, list_next, list_tail):
    """Hang what a cluster is kept apart from onto the list of the cluster it is merged into."""
    if list_head[gone] == -1:
        return
    if list_head[kept] == -1:
        list_head[kept] = list_head[gone]
    else:
        list_next[list_tail[kept]] = list_head[gone]
    list_tail[kept] = list_tail[gone]


@njit(cache=True, nogil=True)
def set_apart(cluster, parent, apart_starts, apart, list_head, list_next, totals):
    """Set the sums of the clusters that a cluster is kept apart from to 0, as if they had no pair."""
    row = list_head[cluster]
    while row != -1:
        for p in range(apart_starts[row], apart_starts[row + 1]):
            other = apart[p]
            while parent[other] != other:
                parent[other] = parent[parent[other]]
                other = parent[other]
            totals[other] = 0
        row = list_next[row]


@njit(cache=True, nogil=True)
def separate(starts, columns, words, nodes, apart_starts, apart):
    """Set the similarities of pairs of rows to 0 whose nodes are kept apart; ``nodes[i]`` is the row that stands for i.

    ``apart[apart_starts[r]:apart_starts[r + 1]]`` are what node r is kept apart from: rows that stand for nodes.
    """
    n = len(starts) - 1
    marked = np.full(n, -1, dtype=np.int32)
    for i in range(n):
        node = nodes[i]
        if apart_starts[node] == apart_starts[node + 1]:
            continue
        for p in range(apart_starts[node], apart_starts[node + 1]):
            marked[apart[p]] = node
        for p in range(starts[i], starts[i + 1]):
            if marked[nodes[columns[p]]] == node:
                words[p] = 0


@njit(cache=True, nogil=True)
def _conflict(one, other, parent, apart_starts, apart, list_head, list_next):
    """Whether a node of cluster ``one`` is kept apart from a node of cluster ``other``."""
    node = list_head[one]
    while node != -1:
        for p in range(apart_starts[node], apart_starts[node + 1]):
            if find(parent, apart[p]) == other:
                return True
        node = list_next[node]
    return False


@njit(cache=True, nogil=True)
def join_unless_apart(first, second, parent, apart_starts, apart):
    """Join the pairs' clusters in the order of the pairs, unless nodes of theirs are kept apart.

    parent[r] becomes the lowest node of r's cluster.
    """
    n = len(parent)
    list_head = np.full(n, -1, dtype=np.int32)
    list_next = np.full(n, -1, dtype=np.int32)
    list_tail = np.full(n, -1, dtype=np.int32)
    held = np.zeros(n, dtype=np.int64)
    for r in range(n):
        held[r] = apart_starts[r + 1] - apart_starts[r]
        if held[r]:
            list_head[r] = r
            list_tail[r] = r
    for p in range(len(first)):
        a, b = find(parent, first[p]), find(parent, second[p])
        if a == b:
            continue
        fewer, more = (a, b) if held[a] <= held[b] else (b, a)
        if _conflict(fewer, more, parent, apart_starts, apart, list_head, list_next):
            continue
        kept, gone = min(a, b), max(a, b)
        parent[gone] = kept
        held[kept] += held[gone]
        hang(np.int64(gone), np.int64(kept), list_head, list_next, list_tail)  # as `chain` does: compiled once
    for r in range(n):  # the lowest node comes before what hangs from it
        parent[r] = parent[parent[r]]


@njit(cache=True, nogil=True)
def give_borders(starts, columns, core, clusters, apart_starts, apart):
    """Give each node that is no core, in order, to the first cluster of a core next to it that it is not apart from.

    ``clusters`` holds the lowest node of each core's cluster and -1 for the others, and is completed.
    """
    for i in range(len(clusters)):
        if core[i]:
            continue
        best = -1
        for p in range(starts[i], starts[i + 1]):
            j = columns[p]
            if not core[j] or (best != -1 and clusters[j] >= best):
                continue
            allowed = True
            for q in range(apart_starts[i], apart_starts[i + 1]):
                if clusters[apart[q]] == clusters[j]:
                    allowed = False
            if allowed:
                best = clusters[j]
        clusters[i] = best
