"""Known mistakes, one file per topic; each rule is a function."""
