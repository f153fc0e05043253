"""Declare the tables of an existing MySQL database: `make from-mysql URL=mysql://…`."""
