"""Declare the tables of an app's own WatermelonDB schema: `make adopt SCHEMA=path/to/schema.ts`."""
