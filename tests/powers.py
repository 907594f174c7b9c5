"""Permissions that hold for root, too: tests may run as root, which may write every file."""

import ctypes
import os
from contextlib import contextmanager

_VERSION = 0x20080522  # of the kernel's structures, with two words for each set
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Set(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextmanager
def permissions_count():
    """Let the permissions of files hold for this thread and those it starts, whoever runs it."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION, 0), (_Set * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    before = sets[0].effective
    try:
        sets[0].effective = before & ~_OVERRIDES
        assert libc.capset(ctypes.byref(header), sets) == 0
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0
