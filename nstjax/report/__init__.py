"""What a run leaves to look at: a sheet of its snapshots, the curves of its losses, and one page with everything."""

from nstjax.report.curves import curves
from nstjax.report.page import page
from nstjax.report.run import write
from nstjax.report.sheet import contact_sheet

__all__ = ["contact_sheet", "curves", "page", "write"]
