"""Commands of operators: backups, schemas of the records, cost."""
