"""The language that losses are written in: what a formula may say, its derivative, its binding to an engine."""
