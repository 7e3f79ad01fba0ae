"""``python -m ssnn_py`` is ``ssnn``."""

import sys

from .cli import main

sys.exit(main())
