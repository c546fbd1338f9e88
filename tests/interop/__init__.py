"""Other people's programs against ours; a package, so that this conftest and the one above it have names of their own."""
