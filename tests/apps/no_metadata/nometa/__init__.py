"""A source tree without pyproject.toml or setup.py: it can't be built, for the tests of faults."""
