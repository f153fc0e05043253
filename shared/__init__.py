"""What every service needs: tables and their invariants, and the web plumbing. Imports no service."""
