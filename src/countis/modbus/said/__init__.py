"""Frames of a line, explained for people and kept in files."""
