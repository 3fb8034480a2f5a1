"""Where do Dagster's pages put the monitors?"""

#: Group of their assets.
GROUP = "monitoring"
