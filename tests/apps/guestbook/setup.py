"""The guestbook, packaged the old way."""

from setuptools import setup

setup(
    name="guestbook",
    version="0.3",
    packages=["guestbook"],
    package_data={"guestbook": ["assets/*"]},
    # From source: it needs a compiler and libpq-dev to build, and libpq5 to run. And humanize,
    # which the deployment has to add by itself, is left out on purpose.
    install_requires=["flask", "psycopg2"],
)
