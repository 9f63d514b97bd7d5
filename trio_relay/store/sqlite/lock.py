"""The lock of a store's file, for one process at a time; the kernel releases it with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from trio_relay.store.base import StoreRefused


class PidLock:
    """Holds `<path>.lock` with the pid in it until `release`; a killed process leaves only an unlocked file.

    Raises:
        StoreRefused: another process holds it; the message names its pid.
        OSError: the lock cannot be made here.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            pid = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreRefused(f"{path} is in use by the process with pid {pid}") from None
        except OSError:
            os.close(self._fd)
            raise

    def release(self) -> None:
        """Release the lock. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._fd)
