"""kwsd: a wake-word daemon for Linux boards."""

import os

__version__ = "0.1.0"

# Every matrix here is small; a second BLAS thread only spins on the core that the audio needs.
# It must be said before numpy is loaded, so here; a value that the user has set wins.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
