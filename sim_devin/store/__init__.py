"""Where runs, intents and spending are kept: in memory or in one SQLite file."""
