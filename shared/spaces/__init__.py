"""Shared spaces: what sync and users do with them alike."""
