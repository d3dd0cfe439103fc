"""Pseudo-labels: clusters from embeddings, their refinement, and their quality.

``clustering`` chooses and runs a method (``dbscan``, ``linkage``, ``infomap_clusters``, ``kmeans``, ``selfpaced``),
``guards`` refuses labels that cannot train anything, ``refinement`` uses each camera's own clusters to clean the global
ones, ``quality`` measures labels with and without identities. Nothing here allocates an array of size n × n.
"""
