"""Every file of the user: safe names, pictures as bytes, the recipe inside them, and writing whole or not at all."""
