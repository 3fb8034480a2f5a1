"""How good are predictions whose labels are not in yet, and did it come so?"""
