"""Secrets: kept encrypted, granted by name to the tasks that a plan says, and taken out of every byte that leaves."""
