"""In a process of its own: run `ssg` with the arguments given, or only import torch; print what it took, as JSON."""

import json
import re
import resource
import sys
import time
from pathlib import Path


def peak() -> int:
    """This program's peak resident set in bytes. On Linux not by getrusage, which counts what ran here before, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    began = time.perf_counter()
    if sys.argv[1:]:
        from ssg_hub.cli import main as ssg

        try:
            failed = ssg(sys.argv[1:])
        except SystemExit as end:  # after --help
            failed = end.code
        if failed:
            sys.exit(1)
    else:
        import torch  # noqa: F401
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {"wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime, "peak": peak()}
    print(json.dumps(took))


if __name__ == "__main__":
    main()
