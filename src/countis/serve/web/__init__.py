"""The shell of a web server: who may ask, and at what cost."""
