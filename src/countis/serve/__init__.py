"""Doors that know no meter: TCP, serial lines, who may enter, and what was said there."""
