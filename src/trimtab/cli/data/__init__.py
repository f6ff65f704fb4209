"""Commands about the data folder as a whole: backup, restore, migrate; calls erased, exported, imported."""
