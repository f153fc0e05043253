"""The pages of the API."""
