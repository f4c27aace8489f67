"""The numbers of an explanation as a record, and how a sketch becomes one."""
