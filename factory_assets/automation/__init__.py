"""When does what run, and why? Schedules, sensors, catching up."""
