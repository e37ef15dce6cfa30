"""What people do with a gateway besides calling it. The command line and the HTTP API both go through here."""
