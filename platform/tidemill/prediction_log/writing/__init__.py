"""Write records to the prediction log, with personal values redacted."""
