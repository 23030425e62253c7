"""Define the look of plots and HTML pages: the palette, the style sheet, the outline of a page."""
