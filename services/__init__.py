"""The services: each a folder with a pure `decide.py`, a `service.py` that wires it, and its adapters."""
