"""Records what plain MLflow runs inside a project are made from: code, data, features and environment."""
