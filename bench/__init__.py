"""Benchmarks: what the service does beside a reference that runs in the same minutes on the same machine.

`python -m bench` runs them all, `python -m bench.version` one. Absolute figures differ from machine to machine, so
each row is a ratio, taken pair by pair from interleaved runs (A B A B …).
"""
