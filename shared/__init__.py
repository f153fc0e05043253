"""Code that every service needs: tables and their invariants, and the web plumbing. Imports no service."""

import atexit
import gc

#: The release, for all that tells of it; pyproject.toml reads it here.
__version__ = "0.1.0"

# What a process holds at its end goes with it: the search for garbage would take a quarter of the time of
# a short command.
atexit.register(gc.freeze)
