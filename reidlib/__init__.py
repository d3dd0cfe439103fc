"""Unsupervised re-identification: the pure functions and small modules that the pipeline's stages call.

The map, in import order (each line may import the ones below it; neighbours on a line do not import each other):

    training      memories, the loop, checkpoints   report    curves, ranked lists, tables        evaluation
    features      embed a split with a model
    labels        clusters, refinement, quality     retrieval mAP, CMC, mINP, re-ranking
    models        backbones, pooling, embedder      images    readers, packing, augmentation, sampling
    neighbours    exact k-NN, sparse k-reciprocal Jaccard distance
    parquet       typed tables
    artifacts     files and folders that appear whole or not at all        progress  one bar

``params`` is the schema of params.yaml and ``compose`` writes that file from conf/; only stages read them. ``doctor``
tells what a machine has and lacks.
"""
