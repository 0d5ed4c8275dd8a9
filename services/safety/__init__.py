"""The safety policy applied: checks on what is asked and on what was done. Pure, but for reading the real difference.

May import from: `schemas`, and the values of `services.workspace`. Knows nothing about events.
"""
