"""Makes HTML reports with Evidently."""
