"""Folders that somebody hostile has filled: measured within bounds, and removed however deep or closed they are.

No path here is longer than two names below the folder, nothing recurses, and no link is followed.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator

# How often the removal begins again, where processes that are being killed still write.
_ROUNDS = 5


def holds_more(folder: str, size: int, files: int) -> bool:
    """Whether the files in it take more bytes on the disk, or are more with the folders, or it cannot be told."""
    waiting, bytes_held, count = [folder], 0, 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    bytes_held += entry.stat(follow_symlinks=False).st_blocks * 512
                    if count > files or bytes_held > size:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:  # it was removed meanwhile
            continue
        except OSError:  # closed, or too deep
            return True
    return False


def remove(folder: str) -> None:
    """Never raises: what cannot be removed is left."""
    for _ in range(_ROUNDS):
        with contextlib.suppress(OSError):
            with _opened(folder) as top:
                _empty(top)
            os.rmdir(folder)
        if not os.path.lexists(folder):
            return


def _empty(top: int) -> None:
    """What lies in a folder within it is moved up beside that folder, until there are only files and empty ones."""
    names = _names()
    while entries := os.listdir(_path(top)):
        if not sum(_taken_away(top, entry, names) for entry in entries):
            return


def _taken_away(top: int, entry: str, names: Iterator[str]) -> bool:
    """Whether the entry is gone from `top`, with everything that it held moved there."""
    try:
        with _opened(entry, top) as below:
            for name in os.listdir(_path(below)):
                with contextlib.suppress(NotADirectoryError), _opened(name, below):
                    pass  # one that may not be written into cannot be moved to another one
                os.rename(name, next(names), src_dir_fd=below, dst_dir_fd=top)
        os.rmdir(entry, dir_fd=top)
    except NotADirectoryError:
        os.unlink(entry, dir_fd=top)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _opened(name: str, parent: int | None = None) -> Iterator[int]:
    """The folder itself, never what a link in its place leads to, with every right of its owner restored."""
    folder = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.chmod(_path(folder), 0o700)
        yield folder
    finally:
        os.close(folder)


def _path(folder: int) -> str:
    return f"/proc/self/fd/{folder}"


def _names() -> Iterator[str]:
    """Names that nobody else has guessed."""
    own, number = secrets.token_hex(8), 0
    while True:
        number += 1
        yield f"{own}-{number}"
