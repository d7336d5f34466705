"""Being told to stop (SIGTERM, Ctrl-C): at once where nothing would be lost, after a checkpoint inside a loop."""

import contextlib
import signal
import sys


class Cancelled(BaseException):
    """The run was told to stop. Not an Exception, so that no recipe's error handling swallows it."""


_requested = False
_deferred = False


def install() -> None:
    """Make SIGTERM and Ctrl-C raise Cancelled, or wait for a loop that deferred them; a second Ctrl-C does not."""
    signal.signal(signal.SIGTERM, _on_signal)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _on_interrupt)


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


def _on_interrupt(signum, frame) -> None:
    if _requested:
        raise KeyboardInterrupt
    if _deferred:
        print("\nstopping after this step, with a checkpoint; Ctrl-C again stops at once", file=sys.stderr, flush=True)
    _on_signal(signum, frame)
