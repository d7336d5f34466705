"""One file a stage; the loops are visible here, and read top to bottom as the papers' algorithms do."""
