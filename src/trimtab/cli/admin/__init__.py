"""Commands that change an installation over its admin API: keys, projects, providers, users, settings, audit."""
