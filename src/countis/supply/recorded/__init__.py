"""Recorded waveforms as sources of samples."""
