"""The entry point of a Space, and of `python app.py`: the page on the model that SSG_MODEL names."""

from ssg_hub.demo.serve import build_demo, launch, main

__all__ = ["build_demo", "launch", "main"]

if __name__ == "__main__":
    main()
