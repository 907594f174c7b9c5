"""Where runs, intents and spending are kept: in memory, in one SQLite file, in PostgreSQL."""
