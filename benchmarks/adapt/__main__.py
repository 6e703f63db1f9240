"""Adapt to three cameras that the embedded model never saw, and to one that it knows: docs/adapt.md.

    python -m benchmarks.adapt make                          # once: the cameras' pictures, from CamVid
    python -m benchmarks.adapt run [--cameras night …]       # `ssg adapt` for each, ten minutes a camera
    python -m benchmarks.adapt score [--cameras night …]     # bicubic, embedded and adapted on the held-out frames
    python -m benchmarks.adapt way [--cameras night …]       # the weights between embedded and what was trained
    python -m benchmarks.adapt true_pairs --cameras video    # train on pairs by the recipe itself [--streets]
    python -m benchmarks.adapt way --cameras video --true-pairs         # the weights on the way there [--streets]

All need the folder of data beside the repository, or $SSG_SHARED. The recipes are in `cameras.py`; they were written
down before the first run and have not been changed since.
"""

from benchmarks.subjects import parse_subject

SUBJECTS = ("make", "run", "score", "way", "true_pairs")

if __name__ == "__main__":
    options = parse_subject("benchmarks.adapt", __doc__, SUBJECTS)
    options.run(options)
