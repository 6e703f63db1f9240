"""The commands of `ssg`: upscale and info."""
