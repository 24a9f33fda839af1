"""TF_CONFIG: which processes train together, and which of them this one is.

Nothing here imports TensorFlow, so that a mistake is told before it starts, let alone waits.
"""

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from kgzoo.errors import UserError, shown

__all__ = ["Cluster", "from_environment"]

_JOBS = ("chief", "worker")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(\d{1,5})")
_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """The processes of a run.

    Attributes:
        addresses: `host:port` of each, the chief's first.
        rank: the position of this process in it.
    """

    addresses: tuple[str, ...] = ("",)
    rank: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes, scores, exports and reports."""
        return self.rank == 0

    def name(self, rank: int) -> str:
        """Returns what a message calls a process: `worker 1 (host2:2222)`."""
        return f"worker {rank} ({self.addresses[rank]})"


def from_environment(strategy: str) -> Cluster:
    """Returns the processes that train together: this one alone, or those of TF_CONFIG.

    Args:
        strategy: the name; all but `multi_worker` are of one process and read nothing.

    Raises:
        UserError: if TF_CONFIG is missing or names no cluster with this process in it.
    """
    if strategy != "multi_worker":
        return Cluster()
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        raise UserError(
            f"TF_CONFIG is not set, which strategy=multi_worker reads; set it to {_EXAMPLE} for "
            "the first process, with index 1 for the second."
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"TF_CONFIG={shown(text)} is no JSON; write {_EXAMPLE}.") from None
    jobs, task = (_part(content, key) for key in ("cluster", "task"))
    addresses = _addresses(jobs)
    kind = task.get("type", "worker")
    if not isinstance(kind, str) or kind not in jobs:
        raise UserError(
            f"TF_CONFIG has task.type={shown(kind)}, of which its cluster has none; give one of "
            f"{', '.join(jobs)}."
        )
    index, most = task.get("index"), len(jobs[kind]) - 1
    if type(index) is not int or not 0 <= index <= most:
        raise UserError(
            f"TF_CONFIG has task.index={shown(index)}, but cluster.{kind} has the indices 0 to "
            f"{most}; give each process one of its own."
        )
    before = 1 if kind == "worker" and "chief" in jobs else 0
    return Cluster(addresses, before + index)


def _part(content: Any, key: str) -> dict[str, Any]:
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, dict):
        raise UserError(f"TF_CONFIG has {key}={shown(part)}, not an object; write {_EXAMPLE}.")
    return part


def _addresses(jobs: dict[str, Any]) -> tuple[str, ...]:
    for job in jobs:
        if job not in _JOBS:
            raise UserError(
                f"TF_CONFIG has cluster.{shown(job)[1:-1]}, whose tasks do not train in step; "
                "list all processes under cluster.worker."
            )
    if "worker" not in jobs:
        raise UserError(f"TF_CONFIG has no cluster.worker; write {_EXAMPLE}.")
    found: list[str] = []
    for job in (job for job in _JOBS if job in jobs):
        listed = jobs[job]
        if not isinstance(listed, list) or not listed:
            raise UserError(
                f"TF_CONFIG has cluster.{job}={shown(listed)}; give a list of host:port, one for "
                "each process."
            )
        for address in listed:
            match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
            if match is None or not 0 < int(match[1]) < 2**16 or address in found:
                again = " again" if address in found else ""
                raise UserError(
                    f"TF_CONFIG has {shown(address)}{again} in cluster.{job}; give each process a "
                    "host:port of its own."
                )
            found.append(address)
    if len(jobs.get("chief", "1")) > 1:
        raise UserError(
            f"TF_CONFIG has {len(jobs['chief'])} tasks in cluster.chief; leave one there and list "
            "the others under cluster.worker."
        )
    return tuple(found)
