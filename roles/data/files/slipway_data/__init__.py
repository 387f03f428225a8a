"""What is done with a project's data on its host: backups, restores, drills, dumps, upgrades.

`python3 -m slipway_data CONFIG VERB`, with the standard library alone and from Python 3.10 on. The
playbooks run it, and so do the timers, for which no control node is there.
"""
