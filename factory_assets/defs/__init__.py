"""What this deployment makes: the demo, a marketplace. FACTORY_DEFS points elsewhere."""
