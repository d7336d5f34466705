"""Being told to stop (SIGTERM): at once where nothing would be lost, after a checkpoint inside a training loop."""

import contextlib
import signal


class Cancelled(BaseException):
    """The run was told to stop. Not an Exception, so that no recipe's error handling swallows it."""


_requested = False
_deferred = False


def install() -> None:
    """Make SIGTERM raise Cancelled, or wait for the loop that has deferred it."""
    signal.signal(signal.SIGTERM, _on_signal)


def requested() -> bool:
    """Whether a loop that defers the signal should write its checkpoint and raise Cancelled."""
    return _requested


@contextlib.contextmanager
def deferred():
    """Inside, SIGTERM only sets `requested`; the loop asks after each step. On leaving, a late signal takes effect."""
    global _deferred
    outer, _deferred = _deferred, True
    try:
        yield
    finally:
        _deferred = outer
    if _requested and not _deferred:
        raise Cancelled


def _on_signal(signum, frame) -> None:
    global _requested
    _requested = True
    if not _deferred:
        raise Cancelled
