"""From embeddings to rankings: retrieval metrics and re-ranking, without a queries x gallery array."""
