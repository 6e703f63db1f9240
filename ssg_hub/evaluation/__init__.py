"""Measuring results: metrics, learned distances, the scoring of models and folders, picture sheets."""
