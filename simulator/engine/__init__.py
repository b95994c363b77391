"""The job engine: values in, values out.

Nothing here reads a clock, a file, the environment or a random generator; time, chance and the scenario come in as
arguments. A `World` is a fold over the journal of its commands: same journal, same world.
"""
