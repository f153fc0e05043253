"""Rules for accounts that hold whichever service changes them."""
