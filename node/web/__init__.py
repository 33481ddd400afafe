"""What people look at: templates of the report and of the market's page."""
