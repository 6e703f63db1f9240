"""The commands of `ssg`: upscale, info and degradation."""
