"""MLflow's pages and API behind the door: its routes, who may use each, and the way there."""
