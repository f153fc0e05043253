"""Code that every service needs: tables and their invariants, and the web plumbing. Imports no service."""

#: The release, for all that tells of it; pyproject.toml reads it here.
__version__ = "0.1.0"
