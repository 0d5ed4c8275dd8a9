"""Chaos on the real thing: a durable server, service processes, generated plans, kill -9 at random moments."""
