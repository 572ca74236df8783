"""``kwsctl``: what an operator or a script asks of a running daemon."""
