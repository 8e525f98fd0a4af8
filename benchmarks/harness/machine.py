"""Description of the machine and the versions of a measurement."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nmt.version import VERSION


def describe() -> dict[str, Any]:
    """Return the machine, the versions, and the current load."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sentencepiece": version("sentencepiece"),
        "nmt": VERSION,
        "revision": _revision(),
        "load": load(),
    }


def load() -> float | None:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _revision() -> str | None:
    """Return the commit, with a plus if files differ from it; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def line(machine: dict[str, Any], threads: int) -> str:
    """Format one line for the heading of a table."""
    parts = [
        machine["processor"],
        f"{machine['cores']} cores",
        machine["gpu"] or "no GPU",
        f"{threads} threads",
        f"torch {machine['torch']}",
        f"Python {machine['python']}",
        f"nmt {machine['nmt']} ({machine['revision']})",
        f"load {machine['load']} at the start, {load()} at the end",
    ]
    return ", ".join(str(part) for part in parts)
