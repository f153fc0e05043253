"""What runs the services, on a developer's machine and elsewhere."""
