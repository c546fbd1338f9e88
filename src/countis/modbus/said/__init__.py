"""What was said on a line, for people and for files."""
