"""Copying the rows of an existing MySQL database through the door (docs/existing-database.md)."""
