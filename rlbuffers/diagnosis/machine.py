"""The machine as a process sees it: processors and memory, limits of containers included."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

__all__ = ["available_cores", "machine_facts", "memory_bytes"]

_CGROUP = Path("/sys/fs/cgroup")


def machine_facts() -> dict[str, str]:
    """Return Python, platform, cores and memory in words."""
    total, available = memory_bytes()
    cores = available_cores()
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cores": f"{cores:g} of {os.cpu_count()}" if cores != os.cpu_count() else f"{cores:g}",
        "RAM": f"{total / 1e9:.1f} GB, {available / 1e9:.1f} GB available" if total else "unknown",
    }


def available_cores() -> float:
    """Return how many processors this process may use."""
    allowed = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, _, period = _cgroup_text("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        allowed = min(allowed, int(quota) / int(period))
    return allowed


def memory_bytes() -> tuple[int, int]:
    """Return the memory that this process can have at most, and what is available now; 0 where unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0, 0
    available = _meminfo("MemAvailable") or total
    limit = _cgroup_text("memory.max")
    if limit.isdigit():
        used = _cgroup_text("memory.current")
        total = min(total, int(limit))
        available = min(available, int(limit) - int(used or 0))
    return total, available


def _meminfo(name: str) -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _cgroup_text(name: str) -> str:
    try:
        return (_CGROUP / name).read_text().strip()
    except OSError:
        return ""
