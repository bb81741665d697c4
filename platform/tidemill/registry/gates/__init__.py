"""Gates: the checks that a candidate must pass before it becomes champion."""
