"""What a candidate must show before it becomes champion."""
