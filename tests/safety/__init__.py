"""Tests of the safety policy: its rules, its checks, and the tricks that it has to see."""
