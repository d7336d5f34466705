"""What ends one of several processes ends all of them, with the same words and the same exit code.

Who fails leaves its sentence in the store by which the processes found each other, and ends. The others then lose the
connection to it or are told to stop, look there, and raise what they find instead of what befell them.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

from training.config import ConfigError
from training.errors import TrainingError
from training.records import RecordError
from training.stopping import Cancelled

T = TypeVar("T")

# Nobody who fails waits longer for a store that is gone.
_PATIENCE = timedelta(seconds=5)


def tell_others(error: ConfigError | RecordError | TrainingError, run: str) -> None:
    """Leave the error for the other processes of the run in this directory, unless another has left one."""
    told = json.dumps({"wrong_input": not isinstance(error, TrainingError), "sentence": str(error)})
    _with_store(lambda store: store.check([_key(run)]) or store.set(_key(run), told))


@contextlib.contextmanager
def of_others(run: str) -> Iterator[None]:
    """Inside, an error without words of our own gives way to what another process has told (`tell_others`)."""
    try:
        yield
    except (ConfigError, RecordError, TrainingError):
        raise
    except (Exception, Cancelled):
        told = _with_store(lambda store: store.check([_key(run)]) and json.loads(store.get(_key(run))))
        if told:
            raise (ConfigError if told["wrong_input"] else TrainingError)(told["sentence"]) from None
        raise


def that_can_be_sent(error: Exception) -> ConfigError | TrainingError:
    """The error's kind and words as an exception that other processes can be sent; itself it may be none."""
    if isinstance(error, ConfigError | RecordError):
        return ConfigError(str(error))
    return TrainingError(str(error) if isinstance(error, TrainingError) else f"{type(error).__name__}: {error}")


def _with_store(work: Callable[..., T]) -> T | None:
    """What `work` gives for the launcher's store; None where there is one process, or the store is gone."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or "MASTER_ADDR" not in os.environ:
        return None
    from torch.distributed import TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        return work(TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=_PATIENCE))
    except RuntimeError:  # which torch's errors of connections are
        return None


def _key(run: str) -> str:
    return f"prefloop/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{run}"
