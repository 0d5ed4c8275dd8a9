"""What has happened, to be asked: SQL files replayed into DuckDB.

A projection is one ``.sql`` file here: it creates its tables and folds batches of new events into them. All of them
are made from event data alone, so they can be deleted at any time and come back the same. One process owns the DuckDB
file; it answers the questions (``answers``) and follows the log (``projector``). Imports ``events`` and ``schemas``.
"""
