"""Who is calling: tokens, sessions and the guard of every protected call."""
