"""Is the challenger good enough, and better than what serves now?"""
