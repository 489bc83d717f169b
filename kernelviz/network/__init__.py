"""Networks: where their weights come from, which convolutions they hold, and what those learned."""
