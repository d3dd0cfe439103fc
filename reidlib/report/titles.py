"""What networks and tables are called where a person reads of them, in the pipeline's order."""

MODELS = {"initial": "initial features", "intra": "after train_intra", "inter": "after train_inter"}
TABLES = {
    "train_intra": "Training inside cameras (train_intra)",
    "train_inter": "Training across cameras (train_inter)",
    "label_quality_intra": "Pseudo-labels of train_intra against the identities (thin lines: each camera)",
    "label_quality_inter": "Pseudo-labels of train_inter against the identities (thin lines: each camera)",
}
