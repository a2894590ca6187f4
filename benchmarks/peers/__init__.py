"""How peers that do not start with one command are started."""
