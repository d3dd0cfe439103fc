"""What networks and tables are called where a person reads of them, in the pipeline's order."""

MODELS = {"initial": "initial features", "intra": "after train_intra", "inter": "after train_inter"}
TABLES = {
    "train_intra": "Training inside cameras (train_intra)",
    "train_inter": "Training across cameras (train_inter)",
    "label_quality_intra": "Pseudo-labels of train_intra against the identities (thin lines: each camera)",
    "label_quality_inter": "Pseudo-labels of train_inter against the identities (thin lines: each camera)",
}
STAGES = {
    "synthesize": "rendered the synthetic pedestrians",
    "unzip": "read the archive and packed its pictures; identities went to a file that no training sees",
    "extract": "made the network to start from, and the first embeddings",
    "cluster": "grouped pictures camera by camera",
    "train_intra": "trained inside cameras",
    "refine": "grouped pictures across cameras",
    "train_inter": "trained across cameras, grouping anew each epoch: the model",
    "embed": "embedded every picture by every network",
    "calibrate": "learnt what a cosine means, without an identity",
    "evaluate": "measured, where identities are known",
}
