"""Authentication: tokens, sessions and the guard of every protected call."""
