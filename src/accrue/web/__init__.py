"""HTTP plumbing that ingest and serve share: problems, limits, the application."""
