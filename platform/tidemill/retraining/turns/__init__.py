"""A turn of the loop: its steps, what each reads, and how it ends."""
