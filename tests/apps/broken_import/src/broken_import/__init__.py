"""Builds, but does not import."""
