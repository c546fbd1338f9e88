"""One meter's page: its routes, what it shows, who looks at it."""
