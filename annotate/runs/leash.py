"""Start a program that ends with its parent: `python leash.py PARENT_PID COMMAND…`.

Without it, a worker killed by SIGKILL would leave its training behind, computing for nobody. On Linux the kernel sends
SIGTERM when the parent goes, and the setting outlives exec; elsewhere the lock of child.py is the only guard.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The parent is gone.")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
