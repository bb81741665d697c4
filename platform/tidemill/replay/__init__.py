"""Plays history as traffic through a served loop: a replayed clock, real servers, labels that come late."""
