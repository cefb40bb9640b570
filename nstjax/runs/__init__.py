"""Single runs: ``stylize`` and ``resume``, the loop, and the files that a run writes."""
