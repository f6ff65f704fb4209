"""`trimtab tail`: calls as they finish."""
