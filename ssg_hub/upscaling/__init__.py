"""Upscaling: a picture in; the enlarged picture, its mask, its drift and a report out."""
