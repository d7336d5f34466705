"""What grows with a project is made by a worker and not in a request: snapshots, the figures of the quality page."""
