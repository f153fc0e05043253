"""The three services, and the description of all their calls. A service imports `shared` and itself alone."""
