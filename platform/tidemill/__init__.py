"""Tidemill: DVC, Feast, Ray, MLflow and Evidently as one machine that keeps models fresh."""

__version__ = "0.1.0"

__all__ = ["__version__"]
