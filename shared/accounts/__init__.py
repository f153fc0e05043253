"""What holds for every account, whichever service changes it."""
