"""What calls cost: `trimtab bill` adds it up and compares it, `trimtab prices` says by which tables."""
