"""Tests and quality gates: which belong to a task, run with the project's own tools, read from their own reports.

What a report says is as true as the code that ran: a test runs in one process with what it tests. So nothing is read
from what is printed, a report must be new and in a place that nobody knew before, and no report is no success; but a
task that writes its own tests writes its own verdict, unless policy protects the files that judge it.
"""
