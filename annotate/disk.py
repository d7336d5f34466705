"""A disk that takes no more: how it is recognised, whichever library met it first."""

import errno


def is_disk_full(error: BaseException | None) -> bool:
    """Anywhere in the chain of causes; databases keep only words (SQLite's, PostgreSQL's)."""
    while error is not None:
        said = str(error)
        if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if "disk is full" in said or "No space left on device" in said:
            return True
        error = error.__cause__ or error.__context__
    return False
