"""`ssg adapt`: one folder of a camera's bad pictures in, a model for that camera out. `adapt` is the way through it."""
