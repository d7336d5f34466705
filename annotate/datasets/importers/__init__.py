"""One file a format: each reads a file and yields items, and writes nothing.

A reader is `read(path, kind, name)`; `path` and its lines appear in errors, `name` is the user whom votes without
a voter are by. It yields records of training.records, `VotedPair`s, and a `Skipped` for each row that cannot be used.
"""
