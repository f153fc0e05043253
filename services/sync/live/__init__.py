"""Live: what tells apps by WebSocket when to sync (docs/api.md, "Live").

A process of its own: `python -m services.sync.live.server`. Its event loop holds the sockets and waits for
nothing else; what the database and Redis are asked runs in a few threads. It keeps nothing that a client
could miss: whoever comes back is told at once what was to be told.
"""
