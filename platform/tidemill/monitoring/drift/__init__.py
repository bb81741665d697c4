"""What of a window has drifted, and what of that is alarming."""
