"""The language of the house: what can be seen, set and commanded, and what can go wrong."""
