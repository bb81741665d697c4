"""What only pods of the chart run: a job for the records, the project's volume, Ray Serve's application."""
