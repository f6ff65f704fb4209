"""Commands about the data folder as a whole: backup, restore, migrate; export and import of calls."""
