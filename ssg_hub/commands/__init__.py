"""The commands of `ssg`: upscale, info, evaluate, degradation and convert."""
