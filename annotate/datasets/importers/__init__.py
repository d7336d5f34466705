"""One file a format: each reads a file and yields items, and writes nothing.

A reader is `read(path, kind, name)`; `path` and its lines appear in errors, `name` says where votes without a voter
come from. It yields records of training.records, `VotedPair`s, and a `Skipped` for each row that cannot be used.
"""
