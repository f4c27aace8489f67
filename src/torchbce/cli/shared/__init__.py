"""What the commands share: options, what they print, and how they read predictions."""
