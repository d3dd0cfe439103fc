"""The renderer of the synthetic pedestrians: all that the stage ``synthesize`` does."""
