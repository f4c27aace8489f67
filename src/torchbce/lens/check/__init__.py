"""Is it working, and if not, which known mistake is it? Coded checks, each with evidence, cause and fix."""
