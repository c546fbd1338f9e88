"""From samples to measurements; CS1 covers this folder, `energy/` and `memory/image.py`."""
