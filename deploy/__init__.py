"""Tools that run the services, on a developer's machine and elsewhere."""
