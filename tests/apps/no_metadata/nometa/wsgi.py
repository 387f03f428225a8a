"""The entry point of a package that can't be built."""

from flask import Flask

app = Flask(__name__)
