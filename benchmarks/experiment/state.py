"""Say what of the experiment is finished, cut short or not begun."""

import argparse

from benchmarks.experiment.jobs import all_jobs
from benchmarks.experiment.protocol import STEPS


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS)


def run(options: argparse.Namespace) -> None:
    for job in all_jobs(options.steps):
        print(f"{job.state:32} {job.folder}")
