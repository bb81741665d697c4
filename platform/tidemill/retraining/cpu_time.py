"""Measures the CPU time of this process and of the processes that it started."""

import resource

__all__ = ["cpu_seconds"]


def cpu_seconds() -> float:
    """Return the CPU time so far of this process, and of those it started that have ended.

    Workers of Ray are not among them: Ray's own processes start those.

    >>> before = cpu_seconds()
    >>> sum(range(100_000)) > 0 and cpu_seconds() >= before
    True
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
