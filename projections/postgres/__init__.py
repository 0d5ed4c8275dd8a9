"""The founding tables in PostgreSQL (contract C20), as an optional follower of the log.

It is a projection and no service: it says nothing, owns no decision, and everything in it can be made again from the
log. ``rows`` folds, purely; ``store`` is the one door to psycopg; ``sink`` follows.
"""
