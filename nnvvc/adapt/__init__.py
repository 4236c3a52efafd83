"""What the encoder optimises per content."""
