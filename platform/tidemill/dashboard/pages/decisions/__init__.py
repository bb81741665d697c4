"""Decisions: who served when and why, turns, rollouts, policies, and what a person decides about them."""
