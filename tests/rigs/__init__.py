"""Real things that several tests start: a gateway on a socket, with its log."""
