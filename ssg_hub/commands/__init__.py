"""The commands of `ssg`, one module each; `ssg_hub.cli` lists them."""
