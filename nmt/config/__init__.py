"""The experiment file: its schema, and the strict way to read one."""
