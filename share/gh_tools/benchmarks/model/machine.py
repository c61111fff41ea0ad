"""What a measurement was made on."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path


def machine() -> dict[str, str | int]:
    """Describe this machine: name, CPU, number of cores that may be used, device, versions, date."""
    import jax

    usable = getattr(os, "sched_getaffinity", None)  # Linux only
    return {
        "name": platform.node(),
        "cpu": _cpu(),
        "cores": len(usable(0)) if usable else os.cpu_count() or 1,
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
    }


def describe(found: dict[str, str | int]) -> str:
    """Put a description into one line."""
    return (
        "{name}, {cpu}, cores: {cores}, device {device}, Python {python}, jax {jax}, {date}".format(
            **found
        )
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
