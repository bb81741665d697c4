"""Takes a version to champion by steps: canaries, comparisons, evidence, rollback."""
