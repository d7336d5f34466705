"""Which pair next, reserve, submit, skip: the only writers of slots, reservations, judgments and skips."""
