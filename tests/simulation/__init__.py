"""The simulator: the real services on the log in memory, under a scheduler and a clock of its own, with faults.

One seed is one night: it decides about the plans, the outcomes, what people say, who runs when, and what breaks. The
same seed gives the same night, byte for byte.
"""
