"""Measurements, always as ratios against a limit in the same run: ``make bench``."""
