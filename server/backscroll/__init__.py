"""Session memory for AI agents: record conversations verbatim, recall them cheaply."""
