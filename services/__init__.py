"""The three services. Each imports `shared` and itself, never a sibling."""
