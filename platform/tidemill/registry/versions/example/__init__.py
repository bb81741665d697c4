"""What goes out with an exported model: it runs without Tidemill, and is never imported by it."""
