"""Pseudo-labels: clusters from embeddings, their refinement, and their quality.

``clustering`` runs one of ``methods`` (``bottom_up``, ``dbscan``, ``linkage``, ``infomap_clusters``, ``kmeans``,
``selfpaced``) on neighbours that ``camera_similarity`` may choose and distances that ``graphs`` may blend, ``guards``
refuses labels that cannot train anything, ``refinement`` uses each camera's own clusters to clean the global ones,
``camera_entropy`` weighs clusters by their cameras, ``quality`` measures labels with and without identities. Nothing
here allocates an array of size n × n.
"""
