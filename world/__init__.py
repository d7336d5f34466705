"""The demo world: a small, closed world of questions with checkable answers, written for this project. Pure Python."""
