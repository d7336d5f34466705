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
            os.chmod(folder, 0o700)
            _empty(folder)
            os.rmdir(folder)
        if not os.path.lexists(folder):
            return


def _empty(folder: str) -> None:
    """What lies in a folder within it is moved up beside that folder, until there are only files and empty ones."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        names = _names()
        while entries := os.listdir(top):
            if not sum(_taken_away(top, entry, names) for entry in entries):
                return
    finally:
        os.close(top)


def _taken_away(top: int, entry: str, names: Iterator[str]) -> bool:
    """Whether the entry is gone from `top`, with everything that it held moved there."""
    try:
        below = os.open(entry, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    except NotADirectoryError:
        os.unlink(entry, dir_fd=top)
        return True
    except OSError:
        return False
    try:
        os.chmod(f"/proc/self/fd/{below}", 0o700)  # the folder that was opened, whatever has its name by now
        for name in os.listdir(f"/proc/self/fd/{below}"):
            new = next(names)
            _open_to_moves(below, name)
            os.rename(name, new, src_dir_fd=below, dst_dir_fd=top)
        os.rmdir(entry, dir_fd=top)
    except OSError:
        return False
    finally:
        os.close(below)
    return True


def _open_to_moves(parent: int, name: str) -> None:
    """A folder that may not be written into cannot be moved to another one."""
    with contextlib.suppress(NotADirectoryError):
        folder = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{folder}", 0o700)
        finally:
            os.close(folder)


def _names() -> Iterator[str]:
    """Names that nobody else has guessed."""
    own, number = secrets.token_hex(8), 0
    while True:
        number += 1
        yield f"{own}-{number}"
