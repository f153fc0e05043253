"""The description of the API, the pages made of it, and the app's end of the tables."""
