"""Would another policy have served a line better? Its past, trained, judged and answered once more."""
