"""How good were the predictions, by metrics and in the owner's own measure, and which nodes have lost what they gained?"""
