"""Splits of a dataset as `unzip` leaves them, the identities apart, and another dataset beside one's own."""
