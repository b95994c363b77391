"""Capsules: one file that holds everything that happened in a world, and plays it again.

`model` is the file, `record` makes one from a world, `secrets` keeps credentials out of it, `replay` plays it in this process,
and `against` sends what its clients said to another server.
"""
