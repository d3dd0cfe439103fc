"""Pseudo-labels: clusters from embeddings, their refinement, and their quality.

``clustering`` runs one of ``methods`` (``bottom_up``, ``dbscan``, ``linkage``, ``infomap_clusters``, ``kmeans``,
``selfpaced``) on neighbours that ``camera_similarity`` may choose and distances that ``graphs`` may blend. ``local``
makes labels inside cameras, ``icsr`` cleans the clusters across cameras by them, ``identities`` makes labels of the
ground truth, ``pseudo_labels`` keeps them; ``guards`` refuses labels that cannot train anything, ``centres`` and
``camera_entropy`` describe clusters, ``quality`` measures labels with and without identities. Nothing here allocates an
array of size n × n.
"""
