"""From cosines to probabilities and thresholds, learnt without an identity. No file here needs a network."""
