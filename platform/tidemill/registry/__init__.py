"""Model versions, the gate before the champion, and who served when."""
