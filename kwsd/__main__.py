"""``python -m kwsd`` is ``kwsd``."""

import sys

from kwsd.cli import main

sys.exit(main())
