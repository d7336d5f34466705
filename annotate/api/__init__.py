"""The REST side of the services that the pages use; OpenAPI at /api/schema/."""
