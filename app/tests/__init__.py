"""Tests of the app, against a real Postgres."""
