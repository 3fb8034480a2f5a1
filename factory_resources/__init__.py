"""What the line plugs into: engine, lake, archive, ledger, reports. Each is one resource, configured by URI."""
