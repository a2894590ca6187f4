"""`embedctl`, a module a command: it parses, calls, and prints."""
