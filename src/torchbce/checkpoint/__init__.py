"""What an unfinished run keeps on disk, so that a killed run goes on and ends as if nothing had happened."""
