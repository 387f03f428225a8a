"""A package with the name of a directory that builds leave behind."""

NAME = "build"
