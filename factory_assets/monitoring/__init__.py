"""Does the model in service still see, and do, what it was released for?"""
