"""Has a column left what its champion was trained on, further than its own past weeks differ?"""
