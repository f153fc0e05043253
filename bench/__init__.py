"""Measurements and long runs against a native stack, driven by the devices of tests/."""
