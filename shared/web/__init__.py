"""The HTTP behavior that all services share: errors, bodies, bounds, health."""
