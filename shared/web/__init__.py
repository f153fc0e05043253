"""What every service says over HTTP in the same way: errors, bodies, bounds, health."""
