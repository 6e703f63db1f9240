"""`python -m ssg_hub …` is `ssg …`."""

import sys

from .cli import main

sys.exit(main())
