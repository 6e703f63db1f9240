"""Clips in and out: decoded, steadied, upscaled and encoded frame by frame, with everything else in them kept."""
