"""The kernel's word on its own clock: whether it is synchronised, for all programs of this machine and its hosts.

A machine that runs tests often has no time service, and the kernel then calls its clock unsynchronised. Endpoint and
hosts share that clock here, so it is right for them; `synchronised()` says so for a while, as a time service would
(adjtimex(2)), and puts the kernel's word back. Time itself is never touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

ADJ_MAXERROR, ADJ_ESTERROR, ADJ_STATUS = 0x4, 0x8, 0x10
TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """The head of `struct timex` (linux/timex.h, 64 bit) and room for its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 200),
    )


def _adjust(**fields: int) -> tuple[int, _Timex]:
    """The clock's state and what the kernel says of it; raises OSError."""
    timex = _Timex(**fields)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"adjtimex: {os.strerror(number)}")
    return state, timex


def is_synchronised() -> bool:
    """What every program of this machine is told."""
    return _adjust()[0] != TIME_ERROR


@contextlib.contextmanager
def synchronised() -> Iterator[None]:
    """The kernel calls its clock synchronised meanwhile; nothing is changed where it does already. Needs root."""
    state, before = _adjust()
    if state != TIME_ERROR:
        yield
        return
    modes = ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR
    _adjust(modes=modes)
    try:
        yield
    finally:
        _adjust(modes=modes, status=before.status, maxerror=before.maxerror, esterror=before.esterror)
