"""Run as a script: becomes the given command, and is killed by the kernel when its starter is gone.

`die_with_parent.py STARTER_PID COMMAND ARG...`: PR_SET_PDEATHSIG survives execve, so the command needs
to know nothing of it. The kernel sends the signal when the *thread* that started us ends (prctl(2)).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    starter, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != starter:  # gone before the signal was armed
        sys.exit("the starter is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
