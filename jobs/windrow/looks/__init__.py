"""Draw and style what people look at: the palette, the style sheet, the shell of a page."""
