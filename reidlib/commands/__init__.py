"""What ``python -m reidlib`` offers a person; no stage imports it."""
