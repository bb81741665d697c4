"""Takes what other systems tell: Alertmanager's webhook."""
