"""The common terms: quantities, settings, commands and errors."""
