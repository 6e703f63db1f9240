"""Train the experiment's rows one after the other: finished rows are skipped, interrupted ones are continued.

    python -m benchmarks.experiment.train                            # camera phone, seed 0, all rows
    python -m benchmarks.experiment.train --rows bank ssg --seeds 1 2 --steps 2000

Before it, once: the guide, the judge and the bank (docs/experiment.md has the lines). It reads no picture of `val`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.document import describe_machine
from benchmarks.experiment.protocol import (
    CAMERAS,
    ROOT,
    ROWS,
    STEPS,
    row_options,
    run_folder,
    train_command,
    warm_up_folder,
    warm_up_options,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_selection(parser)
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=JSON", help="keys of every run, for a try")
    options = parser.parse_args()
    overrides = {key: json.loads(text) for key, text in (pair.split("=", 1) for pair in options.override)}
    plan = [(warm_up_folder(), warm_up_options())]
    for camera, seed, row in selected(options):
        plan.append((run_folder(row, camera, seed, options.steps), row_options(row, camera, seed, options.steps)))
    todo = [(folder, keys) for folder, keys in plan if not is_finished(ROOT / folder)]
    print(f"{len(plan)} runs, {len(plan) - len(todo)} finished before.", flush=True)
    began = time.monotonic()
    for done, (folder, keys) in enumerate(todo):
        if is_finished(ROOT / folder):  # by another runner, meanwhile
            continue
        left = "" if not done else f", about {(time.monotonic() - began) / done * (len(todo) - done) / 60:.0f} min left"
        print(f"[{done + 1}/{len(todo)}{left}] {folder}", flush=True)
        code = train(ROOT / folder, train_command(keys | overrides))
        if code:
            print(f"{folder} ended with {code}: see {folder / 'train.log'}. The same command goes on from here.")
            return code
    print(f"all {len(plan)} runs are finished.")
    return 0


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The options that say which part of the experiment is meant."""
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=["phone"], metavar="CAMERA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="SEED")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"adversarial steps of a row (default {STEPS})")


def selected(options: argparse.Namespace) -> list[tuple[str, int, str]]:
    """(camera, seed, row) of every run that is meant, in the protocol's order of rows."""
    rows = [row for row in ROWS if row in options.rows]
    return [(camera, seed, row) for camera in options.cameras for seed in options.seeds for row in rows]


def is_finished(folder: Path) -> bool:
    """The model is the last thing that a run writes, its weights after its configuration."""
    return (folder / "model/diffusion_pytorch_model.safetensors").is_file()


def train(folder: Path, command: list[str]) -> int:
    """Run one training to its end, its output in `train.log`, and add the CPU time it took to `cost.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    began = cpu_seconds()
    with open(folder / "train.log", "a") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ).returncode
    cost_file = folder / "cost.json"
    before = json.loads(cost_file.read_text())["seconds"] if cost_file.is_file() else 0
    cost = {"seconds": round(before + cpu_seconds() - began), "machine": describe_machine()}
    cost_file.write_text(json.dumps(cost) + "\n")
    return code


def cpu_seconds() -> float:
    """What the finished child processes have used: unlike the clock, it does not count what else the machine did."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
