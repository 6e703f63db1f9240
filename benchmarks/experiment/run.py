"""Train what the experiment needs, one job after the other; an interrupted one is continued, a finished one skipped.

    python -m benchmarks.experiment run                        # all rows, in the protocol's order
    taskset -c 0 python -m benchmarks.experiment run --minutes 60

The first jobs are the common start, the guide and the banks. Several of these commands may run at once, on cores of
their own: each takes the first job that is ready and that no other works on. No picture of `val` is read.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.document import describe_machine
from benchmarks.experiment.jobs import Job, all_jobs, claim
from benchmarks.experiment.protocol import ROOT, STEPS

WORTH_BEGINNING = 60  # seconds; a job reads its networks and data for about ten
PATIENCE = 10  # seconds between looks at what others work on


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop then, with a checkpoint")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"adversarial steps of a row (default {STEPS})")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N jobs, for a try")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=JSON", help="keys of every row, for a try")


def run(options: argparse.Namespace) -> None:
    overrides = {key: json.loads(text) for key, text in (pair.split("=", 1) for pair in options.override)}
    jobs = all_jobs(options.steps, overrides)[: options.first]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on from here."))
    until = time.monotonic() + 60 * options.minutes
    code = work(jobs, until)
    left = [job for job in jobs if not job.finished]
    print(f"{len(jobs) - len(left)} of {len(jobs)} jobs are finished. " + ("The same command goes on." if left else ""))
    sys.exit(code)


def work(jobs: list[Job], until: float) -> int:
    """Do the jobs in their order until all are finished, or the time is over. Returns the code of one that failed."""
    while time.monotonic() + WORTH_BEGINNING < until and (left := [job for job in jobs if not job.finished]):
        tried = False
        for job in (job for job in left if job.ready):
            with claim(job.folder) as mine:
                if not mine or job.finished:  # by another, meanwhile
                    continue
                tried = True
                print(f"{time.strftime('%H:%M')} [{jobs.index(job) + 1}/{len(jobs)}] {job.folder}", flush=True)
                code = do(job, until)
            if code:
                print(f"{job.folder} ended with {code}: see {job.folder / 'train.log'}. Then the same command goes on.")
                return code
            break  # what comes before may be ready now
        if not tried:
            time.sleep(PATIENCE)
    return 0


def do(job: Job, until: float) -> int:
    """Run one job to its end or to the clock's, its output in `train.log`, its CPU time added to `cost.json`.

    Returns:
        The exit code; 0 where the clock ended it.
    """
    folder, began = ROOT / job.folder, cpu_seconds()
    threads = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}  # more than cores would spin
    with open(folder / "train.log", "a") as log:
        process = subprocess.Popen(job.command, cwd=ROOT, stdout=log, stderr=log, env=threads | os.environ)
        try:
            code = process.wait(until - time.monotonic() if until < float("inf") else None)
        except subprocess.TimeoutExpired:
            code = 0
        finally:  # also where this process is told to stop: the job ends with a checkpoint
            if process.poll() is None:
                process.terminate()
                process.wait()
            add_cost(folder / "cost.json", cpu_seconds() - began)
    return code


def add_cost(file: Path, seconds: float) -> None:
    before = json.loads(file.read_text())["seconds"] if file.is_file() else 0
    file.write_text(json.dumps({"seconds": round(before + seconds), "machine": describe_machine()}) + "\n")


def cpu_seconds() -> float:
    """What the finished child processes have used: unlike the clock, it does not count what else the machine did."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
