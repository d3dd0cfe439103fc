"""Unsupervised re-identification: the pure functions and small modules that the pipeline's stages call.

After training::

    model = reidlib.load("model.safetensors")
    vectors = model.embed(["one.jpg", "another.png"])
    answers = reidlib.Gallery("gallery").search(vectors)

The map, in import order. A room (a line's word) may import the rooms below it; rooms of one line do not import each
other. What lies in one room runs again together when it is edited.

    commands    what `reidlib`, or `python -m reidlib`, offers a person
    check       all of params.yaml at once
    serve       after training: a gallery's search page on loopback (beside check)
    training    the loop (`loop`: an epoch in one file), sessions, checkpoints, several processes
    report      measures, pictures and tables (beside training)
    export      after training: the model's folder, its card, ONNX (beside training)
    gallery     after training: a model that takes pictures, a gallery to search (beside training)
    losses      a file for each term of the loss; most are memories of clusters
    embed       images to embeddings
    labels      clusterings; `icsr`: how an epoch is labelled     retrieval   mAP, CMC, mINP, re-ranking
    calibration P(same | cosine), thresholds, without identities
    models      backbones, pooling, necks, weight files           archives    raw archives to packed images (unzip)
    batches     augmentation, sampling, residence                 synthetic   the renderer (synthesize)
    footage     videos and boxes to crops
    images      splits, identities, another dataset beside
    neighbours  exact k-NN, the sparse k-reciprocal Jaccard distance
    tables      parquet, arrays, metrics on the disk
    files       files and folders that appear whole or not at all     progress  bars     settings  values and ranges
    running     how a stage is called
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reidlib.gallery.gallery import Gallery as Gallery
    from reidlib.gallery.model import Model as Model
    from reidlib.gallery.model import load as load

__version__ = "0.1.0"
__all__ = ["Gallery", "Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch takes seconds, which a command's help does without."""
    if name == "Gallery":
        from reidlib.gallery.gallery import Gallery

        return Gallery
    if name in ("Model", "load"):
        from reidlib.gallery import model

        return getattr(model, name)
    raise AttributeError(f"module 'reidlib' has no attribute {name!r}")
