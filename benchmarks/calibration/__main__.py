"""Calibrate the drift map of a model, and say how well that holds: docs/calibration.md.

    python -m benchmarks.calibration fit -o ssg_hub/pretrained          # writes `calibration` into its config.json
    python -m benchmarks.calibration fit -o ssg_hub/pretrained/large
    python -m benchmarks.calibration report [--model large]             # on cameras that were not used for the fit

Both need the folder of data beside the repository, or $SSG_SHARED. No frame here was in the guide's training.
"""

from benchmarks.subjects import parse_subject

SUBJECTS = ("fit", "report")

if __name__ == "__main__":
    options = parse_subject("benchmarks.calibration", __doc__, SUBJECTS)
    options.run(options)
