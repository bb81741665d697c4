"""What the pages of models, windows and features show: figures of monitor runs, made ready to be drawn."""
