"""Demonstrations that people write: a prompt for one person at a time, the submit, and the review."""
