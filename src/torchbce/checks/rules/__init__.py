"""The rules, one file per topic. Each is a function under `@rule`; adding one adds a check."""
