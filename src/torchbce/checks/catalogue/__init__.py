"""What a rule is and what it says, below the rules themselves."""
