"""The calls of an app's own servers, and the keys that open them (docs/api.md, "The server's own hand")."""
