"""The pages that go with the API, and what writes them for the gateway."""
