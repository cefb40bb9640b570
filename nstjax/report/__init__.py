"""What a run leaves to look at: a sheet of its snapshots, the curves of its losses, and one page with everything.

A sweep leaves the same of its members together: a grid of their pictures, a table, and a page.
"""

from nstjax.report.contact_sheet import contact_sheet
from nstjax.report.curves import curves
from nstjax.report.grid import grid, table
from nstjax.report.run_page import page
from nstjax.report.run_report import write
from nstjax.report.sweep_page import Cell, sweep_page
from nstjax.report.sweep_report import write_sweep

__all__ = ["Cell", "contact_sheet", "curves", "grid", "page", "sweep_page", "table", "write", "write_sweep"]
