"""The front door: what the commands do, as functions. `import ce2p` offers them; each loads what it needs when called.

A module for each command, and `models` (load, build). They take options by keyword, tell `progress` how far they are
and the logger "ce2p" what their caller should know, and return what they found. The command line adds options, progress
bars and tables.
"""
