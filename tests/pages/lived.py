"""The line that the tests of pages and of `factory status` look at lives for so many days, before anything happens to it."""

DAYS = 12
