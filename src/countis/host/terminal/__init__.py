"""`countis panel`: a running meter's front panel in a terminal."""
