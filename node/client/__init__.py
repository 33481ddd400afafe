"""What the processes of a market say to one another over HTTP, and the client that says it."""
