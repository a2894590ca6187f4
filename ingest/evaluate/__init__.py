"""How well a collection answers questions whose answers are known."""
