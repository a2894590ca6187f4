"""What is kept of the work done: metrics, spans, lines of log. Never a text."""
