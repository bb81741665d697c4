"""Reports for people, made by Evidently."""
