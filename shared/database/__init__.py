"""Engines, transactions and rows in bulk."""
