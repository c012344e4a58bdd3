"""One page that says what a run learned and what it brought: a single HTML file without a network."""
