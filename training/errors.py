"""What ends a run, in one sentence each."""

import errno

import torch


class TrainingError(RuntimeError):
    """Training cannot go on: one sentence that says where and what to change. Ends a run with exit code 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """A GPU's or the CPU allocator's refusal."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def is_disk_full(error: BaseException | None) -> bool:
    """Anywhere in the chain of causes; libraries that write through other languages keep only the words."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
