"""Train, score and report the experiment: docs/experiment.md.

    python -m benchmarks.experiment run [--minutes N]   # or continues with the rest
    python -m benchmarks.experiment state               # what is finished, cut short, not begun
    python -m benchmarks.experiment score               # reads val, once
    python -m benchmarks.experiment guides              # what both guides recognise on dev
    python -m benchmarks.experiment report              # docs/results.md, README.md, and the curves

All need the folder of data beside the repository.
"""

from benchmarks.subjects import parse_subject

SUBJECTS = ("run", "state", "score", "guides", "report")

if __name__ == "__main__":
    options = parse_subject("benchmarks.experiment", __doc__, SUBJECTS)
    options.run(options)
