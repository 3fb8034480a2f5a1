"""What work is due, why, and after what? One plan; `factory run`, the daemon and CI carry it out."""
