"""The report of a run or a sweep.

A run gets a contact sheet of its snapshots, the curves of its losses, and a page with everything. A sweep gets a grid
of its members' pictures, a table, and a page. Pages are HTML files that need no other file and no network.
"""

from nstjax.reports.contact_sheet import contact_sheet
from nstjax.reports.curves import curves
from nstjax.reports.grid import grid, table
from nstjax.reports.run_page import page
from nstjax.reports.run_report import write
from nstjax.reports.sweep_page import Cell, sweep_page
from nstjax.reports.sweep_report import write_sweep

__all__ = ["Cell", "contact_sheet", "curves", "grid", "page", "sweep_page", "table", "write", "write_sweep"]
