"""Turns and batch scoring as RayJobs: their manifests, what becomes of them, and what they run."""
