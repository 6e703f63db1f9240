"""Engines: what runs the networks on a tile."""
