"""The terms that a training loss may be made of: one file each, chosen by the file's name; see `training.term`."""
