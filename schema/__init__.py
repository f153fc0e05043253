"""The tools for an app's tables: its schema is adopted, or printed for it, and the migration is written."""
