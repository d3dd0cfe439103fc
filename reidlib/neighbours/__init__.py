"""Neighbour search and the sparse k-reciprocal Jaccard distance: everything between embeddings and a sparse graph."""
