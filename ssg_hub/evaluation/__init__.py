"""Measuring results: metrics, the scoring of models and folders, judges, picture sheets."""
