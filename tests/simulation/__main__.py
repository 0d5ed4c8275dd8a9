"""Run nights: ``python -m tests.simulation --n 1000 --seed 1 [--mutation NAME] [--mutations] [--trace]``."""

from __future__ import annotations

import sys

from tests.simulation.command import main

sys.exit(main())
