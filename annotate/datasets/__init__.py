"""Data in and out: files become rows, judgments become triples, triples become immutable snapshots."""
