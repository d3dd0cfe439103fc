"""Archives as downloaded, read and packed: all that the stage ``unzip`` does."""
