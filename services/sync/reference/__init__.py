"""Reference tables: loads, and what a pull selects of them (docs/reference-tables.md)."""
