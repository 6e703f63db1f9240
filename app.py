"""The entry point of a Space, and of `python app.py`: the page on the model that SSG_MODEL names."""

import sys

from ssg_hub.demo.serve import build_demo, launch, main
from ssg_hub.errors import SSGError

__all__ = ["build_demo", "launch", "main"]

if __name__ == "__main__":
    try:
        main()
    except SSGError as error:
        sys.exit(f"app.py: {error}")
