"""Rollouts: a canary gets larger shares in steps, is compared with the champion, replaces it or ends."""
