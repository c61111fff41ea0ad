"""Asking a run to stop by Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Interrupt:
    """Whether the run was asked to stop.

    Attributes:
        requested: True from the first signal on.
    """

    requested: bool = field(default=False)


@contextlib.contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn the first SIGINT or SIGTERM into a request; the second acts as ever."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number, frame):
        interrupt.requested = True
        signal.signal(number, earlier[number])

    for number in earlier:
        signal.signal(number, request)
    try:
        yield interrupt
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
