"""The pure core: standard library and numpy only, so it imports in a blink and runs anywhere."""
