"""The report of one execution: what was asked, what is verified and what is not, why, and what needs a person.

``build`` makes it from the history alone, so the same history gives the same bytes; ``markdown`` and ``html`` write it.
"""

from projections.report.build import build
from projections.report.markdown import markdown
from projections.report.model import Report
from projections.report.page import html

__all__ = ["Report", "build", "html", "markdown"]
