"""Tables and arrays in, tables out: effects, fidelity, performance, co-occurrence, statistics.

No engine and no file is touched here, so that everything can be tested in seconds.
"""
