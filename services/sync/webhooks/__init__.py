"""Webhooks: telling other servers what changed (docs/webhooks.md).

A process of its own: `python -m services.sync.webhooks`. It puts what waits in the outbox into batches, and
sends one batch after the other to each receiver. However many such processes there are, a receiver is told by
one at a time.
"""
