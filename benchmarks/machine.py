"""What figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine_in_a_line(used: str = "") -> str:
    """The machine in a line.

    Args:
        used: how its cores were used.
    """
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = f"{os.cpu_count()} cores" + (f" ({used})" if used else "")
    return f"{model}, {cores}, {platform.system()}, Python {platform.python_version()}"
