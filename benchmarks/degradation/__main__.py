"""Measure how a camera is learnt from its pictures, one subject a file, and write docs/degradation.md.

    python -m benchmarks.degradation kernels [--method kernelgan]  # likewise cameras, jpeg, made, noise, sheet, prior

All need the folder of data beside the repository, or $SSG_SHARED.
"""

from benchmarks.subjects import parse_subject

SUBJECTS = ("cameras", "jpeg", "kernels", "made", "noise", "sheet", "prior")

if __name__ == "__main__":
    options = parse_subject("benchmarks.degradation", __doc__, SUBJECTS)
    options.run(options)
