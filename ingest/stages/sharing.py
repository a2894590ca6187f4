"""What the job takes of the machines it shares with the replicas: little, where these compute on the CPU.

A core that is taken from an engine stops all its threads, because each step waits for the slowest of them.
"""

from __future__ import annotations

import os

NICENESS = 10  # of the job's actors: an engine on the same cores goes first, and fills most of their time
CPUS_A_PARSER = 2  # where an engine may compute on them


def be_nice(niceness: int) -> None:
    """Lower this process's priority by so much; 0 leaves it as it is. What it starts from now on inherits that."""
    os.nice(niceness)


def most_parsers(actors: int, units: int, cpus: int, *, beside_replicas: bool) -> int:
    """How many parsing actors to start at most, of `actors` that are allowed, in a cluster with so many CPUs.

    Each costs seconds of CPU time before its first file, so there are never more than units of work.
    """
    return max(1, min(actors, units, cpus // CPUS_A_PARSER if beside_replicas else cpus))
