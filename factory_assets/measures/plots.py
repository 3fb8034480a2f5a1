def evaluation_plot(*a, **k): return b"x"
def series_plot(*a, **k): return b"x"
def distributions_plot(*a, **k): return b"x"
def markdown(png, alt): return alt
