"""What prints the published figures and makes the pictures of the documents: `python -m benchmarks.NAME`."""
