"""The commands that print the published figures and make the pictures of the documents: `python -m benchmarks.NAME`."""
