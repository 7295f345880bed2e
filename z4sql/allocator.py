"""The C library's allocator, told to keep what is freed for what comes next.

Every round allocates and frees buffers of some hundred kilobytes: frames, entries, memory tables. By default
glibc gives them back to the kernel, which clears the same pages again and again. mallopt(3).
"""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 256 << 20
"""Free memory at an arena's end that is not given back."""


def keep_freed_memory() -> bool:
    """Set glibc's thresholds for this process; False where the C library has none."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, KEPT_BYTES), (_TOP_PAD, 16 << 20))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)
