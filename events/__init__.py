"""The published language: facts, their envelope, who says and who hears them, and the ports of the bus."""
